"""The question `method` of a study: the runs it made, judged as those of a search are."""

import json

import numpy as np
import pytest

from method_search import base_of, write_domains
from pliant import PliantError, Study
from pliant.changes import Finetune
from pliant.decide import ask
from pliant.decide.methods.recorded import decide_recorded
from pliant.report import report
from pliant.study import run
from synthetic_ledger import synthetic_ledger


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A study with two methods at two rates, two lengths and two seeds; one rate diverges."""
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLIANT_CACHE", str(folder / "cache"))
        write_domains(folder)
        base_of(folder)
        sums, prose = str(folder / "sums.jsonl"), str(folder / "prose.jsonl")
        methods = [[], [{"lora": {"rank": 2}}]]
        tuned = {"data": sums, "lr": [3e-3, 1e-2], "steps": [2, 6], "batch": 4, "length": 32, "methods": methods}
        loss = {"samples": 24}
        study = Study.parse(
            {
                "name": "methods",
                "checkpoints": str(folder / "model"),
                "changes": ["none", {"finetune": tuned}, {"finetune": {**tuned, "lr": 1e9, "methods": [[]]}}],
                "measures": {"sums": {"loss": {"data": sums, **loss}}, "prose": {"loss": {"data": prose, **loss}}},
                "seeds": [0, 1],
                "questions": ["method"],
            }
        )
        runs = run(study, folder / "ledger", workers=0)
        yield runs, folder / "ledger"


def test_a_study_answers_with_the_numbers_of_its_records(ran):
    runs, folder = ran
    (answered,) = runs.answers()
    assert not answered.undecided
    (found,) = answered.answers
    assert {arm.name for arm in found.arms} == {"full", "lora"}
    assert (found.target, found.keep, found.seeds, found.steps) == ("sums", "prose", 1, 6)
    assert {setting["lr"] for arm in found.arms for setting in arm.tried} == {3e-3, 1e-2, 1e9}
    assert any("full: 1 of 3 settings dropped (lr 1e+09)" in caveat for caveat in found.caveats)
    best = found.best
    (rise,) = [
        row
        for row in runs.own.rises().to_pylist()
        if row["measure"] == "sums"
        and row["seed"] == 1
        and (change := Finetune.parse({k: v for k, v in json.loads(row["change_json"]).items() if k != "kind"})).steps == 6
        and (change.lr, change.methods) == (best.lr, best.methods)
    ]
    halves = 3 * rise["stderr"]  # of half of the documents
    assert best.learned.value == pytest.approx(-rise["rise"], abs=halves)
    assert [point["steps"] for point in best.path] == [0, 2, 6]
    assert [one.json() for one in ask("method", folder)] == [found.json()]


def test_the_terminal_and_the_report_say_the_same(ran, tmp_path, pliant):
    runs, folder = ran
    (found,) = ask("method", folder)
    code, out, _ = pliant("decide", "method", "--ledger", folder)
    assert code == 0
    assert found.sentence() in out
    _, out, _ = pliant("decide", "method", "--ledger", folder, "--target", "prose", "--keep", "sums", "--json")
    (other,) = json.loads(out)
    assert other["question"] == "method"
    assert other["base_loss"] != found.base, "the measures have changed places"
    page = report(runs, tmp_path / "report.html").read_text()
    assert "Learning and forgetting" in page
    assert "Which method to fine-tune with" in page


def test_what_cannot_be_answered_is_said(ran, tmp_path, pliant):
    _, folder = ran
    for options, says in (
        (["--ledger", folder, "--target", "smus"], "'smus'; did you mean 'sums'"),
        (["--ledger", folder, "--target", "sums", "--keep", "sums"], "give two measures"),
        (["--ledger", folder, "--methods", "full"], "--ledger has what was trained"),
        (["--ledger", folder, "--model", "m"], "one of the two"),
        (["--ledger", tmp_path], "no ledger here"),
        (["--model", "m", "--target", "sums", "--data", "d"], "--target is a measure of a --ledger"),
    ):
        code, _, err = pliant("decide", "method", *options)
        assert code == 2
        assert says in err


def test_every_checkpoint_of_a_ladder_has_its_answer(tmp_path):
    ledger = synthetic_ledger(tmp_path, seeds=[0], samples=16, tokens=[1_000_000, 16_000_000])
    found = {one.model.partition("@")[2].partition("-")[0]: one for one in decide_recorded(ledger)}
    assert sorted(found) == ["1000000", "16000000"]
    np.testing.assert_allclose(found["1000000"].best.learned.value, 3.284 - 2.379, atol=0.05)  # the table behind the ledger, at lr 0.01
    assert found["1000000"].best.lr == 1e-2
    few = synthetic_ledger(tmp_path / "few", seeds=[0], samples=3, tokens=[1_000_000])
    with pytest.raises(PliantError, match="too few to choose by one half"):
        decide_recorded(few)
