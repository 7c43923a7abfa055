"""Malformed inputs of every kind that is read: none gives a traceback, hangs, or floods the screen. `malformed.py` runs more."""

import pytest
from inputs import LADDER, SHORT, STUDY
from malformed import prepare, ready, run

from pliant.study import Study, plan

BATCHES, CASES = 5, 50


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLIANT_CACHE", str(tmp_path_factory.mktemp("cache")))
        prepare(folder)
        ready()
        yield folder


@pytest.mark.parametrize("checkpoints", [{}, {"checkpoints": LADDER}, SHORT])
def test_what_is_spoiled_is_whole_at_first(checkpoints, whole, monkeypatch):
    """Else each case would end at the same fault, and nothing behind it be tried."""
    monkeypatch.chdir(whole)
    assert plan(Study.parse(STUDY | checkpoints)).cells


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(BATCHES))
def test_malformed_input_is_answered_in_a_few_lines(batch, whole, tmp_path):
    outcomes = [run(seed, whole, tmp_path / "case") for seed in range(batch * CASES, (batch + 1) * CASES)]
    assert [f"{outcome.about()}\n{outcome.said[-500:]}" for outcome in outcomes if outcome.faults] == []
    assert {outcome.code for outcome in outcomes} >= {0, 2}
