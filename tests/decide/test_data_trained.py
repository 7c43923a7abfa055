"""`decide data` on a study: prices, bands and pools, and what it refuses."""

import json
from functools import partial

import numpy as np
import pytest

from pliant.data import Corpus
from pliant.decide.data.against import decide
from pliant.decide.data.pools import pools
from pliant.decide.data.prices import prices
from pliant.decide.data.pruning import pruning
from pliant.errors import PliantError
from pliant.laws import fit
from pliant.models import load
from pliant.objectives import NextToken
from pliant.scores import Perplexity
from pliant.scores.journal import score_to_file
from pliant.study import Ledger, Study
from pliant.train import TrainedLadder


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Text of three alphabets: what a source is worth for its own letters is known."""
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLIANT_CACHE", str(folder / "cache"))
        generator = np.random.default_rng(0)
        for name, letters in (("web", "abcd"), ("code", "efgh"), ("junk", "ijkl")):
            rows = [json.dumps({"text": "".join(generator.choice(list(letters), 80 + number))}) for number in range(120)]
            (folder / f"{name}.jsonl").write_text("\n".join(rows))
        (folder / "both.jsonl").write_text("\n".join((folder / f"{name}.jsonl").read_text() for name in ("web", "junk")))
        yield folder


@pytest.fixture(autouse=True)
def _cache(place, monkeypatch):
    monkeypatch.setenv("PLIANT_CACHE", str(place / "cache"))


def study(place, corpus, measures=("web", "code"), **ladder):
    model = {"preset": "llama-16x1", "tokenizer": "ascii", "context": 16}
    fields = {"model": model, "corpus": corpus, "tokens": 5120, "batch": 8, "lr": 1e-2, **ladder}
    read = {name: {"loss": {"data": str(place / f"{name}.jsonl"), "samples": 32}} for name in measures}
    return {"name": "s", "checkpoints": {"ladder": fields}, "measures": read, "seeds": [0, 1]}


def mixed(place):
    phases = [{"until": "50%", "weights": {"web": 1}}, {"weights": {"web": 0.4, "code": 0.4, "junk": 0.2}}]
    return {"mixture": {name: str(place / f"{name}.jsonl") for name in ("web", "code", "junk")}, "phases": phases}


def test_a_source_is_worth_most_for_its_own_text(place):
    wanted, ledger = Study.parse(study(place, mixed(place))), place / "ledger"
    found = prices(wanted, ledger, without=["code"], workers=0)
    assert prices(wanted, ledger, without=["code"], workers=0).json() == found.json(), "what is there is not run again"
    by_measure = {answer.measure: {effect.arm: effect for effect in answer.effects} for answer in found.answers}
    assert by_measure["code"]["without code"].value > 5 * abs(by_measure["web"]["without code"].value)
    assert by_measure["code"]["as before"].value > 0.1, "the control never sees code"
    assert found.facts["branches"] == 3
    assert found.facts["shared"] == pytest.approx(0.5, abs=0.02), "whole steps"
    assert found.facts["cheaper"] == pytest.approx(3 / (0.5 + 3 * 0.5), abs=0.02)
    answers = decide(Ledger(ledger), "as planned", "code")
    means = {row["checkpoint"]: row["value"] for row in Ledger(ledger).records("measure = 'code' and seed = 0")}
    other = {row["checkpoint"]: row["value"] for row in Ledger(ledger).records("measure = 'code' and seed = 1")}
    apart = [
        next(v for name, v in values.items() if "without code" in name) - next(v for name, v in values.items() if "as planned" in name)
        for values in (means, other)
    ]
    effect = next(effect for effect in answers[0].effects if effect.arm == "without code")
    assert effect.value == pytest.approx(np.mean(apart)), "the mean over seeds of differences of means"
    with pytest.raises(PliantError, match="no arm is called 'as plannd'; did you mean 'as planned'"):
        decide(Ledger(ledger), "as plannd")


@pytest.fixture(scope="module")
def scores(place):
    """Of web and junk together, by a model that knows web."""
    corpus = Corpus.parse(str(place / "both.jsonl"))
    fields = study(place, str(place / "web.jsonl"))["checkpoints"]["ladder"]
    (rung,) = TrainedLadder.parse(fields | {"tokens": "8k"}).rungs(0, place / "reference")
    model, objective = load(rung.train()), NextToken(data=corpus)
    further = {"objective": objective.canonical(), "content": corpus.fingerprint()}
    score_to_file(Perplexity(), [model], objective.examples(model, None), place / "scores.parquet", further)
    return place / "scores.parquet"


def test_the_band_without_junk_trains_the_better_model_of_the_target(place, scores):
    wanted = Study.parse(study(place, str(place / "both.jsonl"), measures=("web",)))
    found = pruning(wanted, place / "pruned", scores, "50%", ("low", "high"), workers=0)
    (answer,) = found.answers
    effects = {effect.arm: effect for effect in answer.effects}
    assert answer.against == "corpus random"
    assert effects["corpus low"].value < 0 < effects["corpus high"].value
    assert effects["corpus high"].value - effects["corpus low"].value > 0.1
    again = pruning(wanted, place / "pruned", scores, "50%", ("low", "high"), workers=0)
    assert again.json() == found.json()
    unpruned = Study.parse(study(place, str(place / "both.jsonl"), measures=("both",)))
    with pytest.raises(PliantError, match=r"measures.both: reads the unpruned corpus"):
        pruning(unpruned, place / "pruned", scores, "50%", workers=0)
    with pytest.raises(PliantError, match="keeps none"):
        pruning(wanted, place / "pruned", scores, "0.01%", workers=0)


def test_pools_are_chosen_by_the_law_fitted_to_short_runs_on_each(place, monkeypatch):
    monkeypatch.setattr("pliant.laws.fit", partial(fit, bootstrap=20, fix={"a": 1.0}))
    corpus = {"mixture": {name: str(place / f"{name}.jsonl") for name in ("web", "junk")}}
    wanted = Study.parse(study(place, corpus, measures=("web",), tokens=["2k", "4k", "8k", "12k"]) | {"seeds": [0]})
    found = pools(wanted, place / "pools", 10_000, workers=0)
    assert found.answer == ["web"]
    assert found.probability_best > 0.9
    assert found.verdict in ("answered", "undetermined")


def test_studies_of_another_form_are_one_line(place):
    for fields, call, said in (
        (study(place, str(place / "web.jsonl")), lambda s: prices(s, place / "none"), "sources are told apart in a mixture"),
        (study(place, mixed(place)), lambda s: pools(s, place / "none", 1e6), "from 3 budgets on"),
        (study(place, mixed(place), tokens=[1, 2, 3]), lambda s: pools(s, place / "none", 1e6), "give --measure, one of web, code"),
        (study(place, mixed(place)), lambda s: pruning(s, place / "none", place / "x", "50%"), "trains on a mixture"),
        (study(place, mixed(place)) | {"checkpoints": [str(place)]}, lambda s: prices(s, place / "none"), "chosen by training on it"),
    ):
        with pytest.raises(PliantError, match=said):
            call(Study.parse(fields))
