"""Branches of one run: what they share is trained once, and each is what a run of its own would have been."""

import json

import numpy as np
import pytest

from pliant.errors import PliantError
from pliant.models import load
from pliant.study.branches import BEFORE, WHOLE, Branches
from pliant.study.ladders import parse_ladder
from pliant.train import TrainedLadder


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLIANT_CACHE", str(folder / "cache"))
        generator = np.random.default_rng(0)
        for letters in ("abc", "def", "ghi"):
            rows = [json.dumps({"text": "".join(generator.choice(list(letters), 60 + number))}) for number in range(60)]
            (folder / f"{letters}.jsonl").write_text("\n".join(rows))
        yield {letters: str(folder / f"{letters}.jsonl") for letters in ("abc", "def", "ghi")}


def ladder(sources, **fields):
    first, last = {"abc": 0.5, "def": 0.5}, {"abc": 0.2, "def": 0.3, "ghi": 0.5}
    corpus = {"mixture": sources, "phases": [{"until": "60%", "weights": first}, {"weights": last}]}
    model = {"preset": "llama-16x1", "tokenizer": "ascii", "context": 16}
    return {"model": model, "corpus": corpus, "tokens": "1280", "batch": 4, "lr": 1e-2, **fields}


def weights(rung):
    return load(rung.train()).weights()


def test_every_branch_is_the_run_it_would_have_been(sources, tmp_path):
    branches = Branches.parse({"ladder": ladder(sources), "without": ["ghi"]})
    rungs = branches.rungs(0, tmp_path / "branches")
    assert [rung.arm for rung in rungs] == [WHOLE, BEFORE, "without ghi"]
    assert [rung.checkpoint.name for rung in rungs][-1] == "llama-16x1, without ghi"
    made = [weights(rung.rung) for rung in rungs]
    assert len(list((tmp_path / "branches").glob("*.beginning"))) == 1, "the beginning is trained once"
    assert branches.switch() == 0.6
    phases = ladder(sources)["corpus"]["phases"]
    alone = {
        WHOLE: phases,
        BEFORE: [phases[0] | {"until": None}],
        "without ghi": [phases[0], {"weights": {"abc": 0.4, "def": 0.6}}],
    }
    for arm, found in zip(alone, made, strict=True):
        corpus = {"mixture": sources, "phases": alone[arm]}
        (rung,) = TrainedLadder.parse(ladder(sources, corpus=corpus)).rungs(0, tmp_path / "alone")
        assert weights(rung) == found, arm
    assert len(set(made)) == 3
    assert rungs[0].rung.cost == 0, "made already"
    assert parse_ladder(branches.form()) == branches


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"corpus": "builtin:prose"}, "need a corpus that is a mixture of two phases"),
        ({"tokens": [1280, 2560]}, "one model and one budget"),
        ({"methods": ["ema"]}, "leave methods out"),
        ({"without": ["xyz"]}, "'xyz' has no share in the last phase; there are abc, def, ghi"),
    ],
)
def test_what_has_no_branches_is_one_line(sources, changes, message):
    given = {"without": changes.pop("without")} if "without" in changes else {}
    with pytest.raises(PliantError, match=message):
        Branches.parse({"ladder": ladder(sources, **changes), **given})
