"""The scorecard: the same numbers as the measures give, paired; what was not tested is listed; and the command as scripts read it."""

import json

import numpy as np
import pytest

import pliant as pl
from pliant.cli import main
from pliant.comparison.many import false_discovery
from pliant.data import load_tokenizer
from pliant.errors import PliantError
from pliant.measures import MEASURES, ContextReliance
from pliant.models import build, save
from pliant.models.generation import Said
from pliant.report.scorecard import chosen, scorecard, trust_measures

KEYS = ["test", "metric", "before", "after", "difference", "low", "high", "mde", "n", "p", "better"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two language models in folders."""
    folder = tmp_path_factory.mktemp("models")
    for number, name in enumerate(("base", "tuned")):
        save(build("llama-16x1", load_tokenizer("ascii"), number, context=256), folder / name)
    return str(folder / "base"), str(folder / "tuned")


@pytest.fixture
def conflicts(tmp_path):
    records = [
        {"context": f"Rome moved to Oslo {n}.", "question": f"Where is {n}?", "answer": "Oslo", "memory_answer": "Rome"} for n in range(40)
    ]
    (tmp_path / "conflicts.jsonl").write_text("\n".join(map(json.dumps, records)))
    return str(tmp_path / "conflicts.jsonl")


def saying(monkeypatch):
    """The first model follows 30 of 40 contexts, the second 10; neither knows a fact."""

    def said(model, prompts, **settings):
        followed = 30 if model.checkpoint.address.endswith("base") else 10
        return [Said("Oslo" if number < followed else "Rome", True) for number, _ in enumerate(prompts)]

    monkeypatch.setattr("pliant.measures.context.generate", said)
    monkeypatch.setattr("pliant.measures.facts.generate", lambda model, prompts, **settings: [Said("dunno", True) for _ in prompts])


def facts_of(tmp_path):
    (tmp_path / "facts.jsonl").write_text("\n".join(json.dumps({"question": f"who {n}?", "answers": [f"A{n}", "B"]}) for n in range(20)))
    return str(tmp_path / "facts.jsonl")


def test_numbers_are_those_of_the_paired_measures(models, conflicts, tmp_path, monkeypatch):
    saying(monkeypatch)
    card = scorecard(*models, data=[conflicts, facts_of(tmp_path)], load=pl.load)
    told = {(row["test"], row["metric"]): row for row in card.json()}
    row = told["context", "context_only"]
    before, after = (
        next(one for one in ContextReliance(data=conflicts).readings(pl.load(place)) if one.metric == "context_only") for place in models
    )
    paired = (after - before).estimate()
    assert (row["before"], row["after"], row["n"]) == (0.75, 0.25, 40)
    assert row["difference"] == pytest.approx(paired.value)
    assert row["low"] <= -0.5 <= row["high"]
    assert row["p"] < 0.001, "twenty of twenty items went one way: mid-p 2 ** -20"
    assert (row["better"], row["verdict"]) == ("higher", "worse")
    assert told["context", "memory_only"]["verdict"] == "worse", "it answers from memory more often, where less is better"
    assert told["facts", "accuracy"]["verdict"] != "worse"
    measured = [one for one in card.json() if one["metric"]]
    assert [one["q"] for one in measured] == false_discovery([one["p"] for one in measured])
    assert "robustness" in card.untested
    assert told["robustness", None]["not_tested"].startswith("no data for it; it needs images")


def test_what_a_model_cannot_take_is_listed_and_the_rest_is_kept(models, conflicts, tmp_path, monkeypatch):
    saying(monkeypatch)
    card = scorecard(
        *models, tests=["context", {"robustness": {"data": "builtin:digits", "attack": {"pgd": {}}}}], data=[conflicts], load=pl.load
    )
    assert {row.task for row in card.rows} == {"context"}
    assert "robustness is read off a classifier" in card.untested["robustness"]
    assert set(card.untested) == {"robustness"}, "only what was asked for is missed"


def test_bad_input_is_a_line(models, conflicts):
    with pytest.raises(PliantError, match="'contxt' is no test of trust; did you mean 'context'"):
        chosen(["contxt"], [conflicts])
    with pytest.raises(PliantError, match="loss is no test of trust"):
        chosen([{"loss": {"data": "builtin:prose"}}], [])
    with pytest.raises(PliantError, match=r"nothing could be tested: .*context: no data for it; it needs a table with context"):
        scorecard(*models, load=pl.load)


def test_every_test_says_what_it_needs():
    for kind in trust_measures().values():
        assert kind.needs
    assert set(trust_measures()) < set(MEASURES.entries())


def test_the_command_prints_what_scripts_read_and_writes_a_page(models, conflicts, tmp_path, monkeypatch, capsys):
    page = tmp_path / "card.html"
    arguments = [
        "scorecard",
        "--before",
        models[0],
        "--after",
        models[1],
        "--data",
        conflicts,
        "--tests",
        "context,facts",
        "-o",
        page,
        "--json",
    ]
    monkeypatch.setattr("sys.argv", ["pliant", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    told = json.loads(capsys.readouterr().out)
    assert all(list(row)[: len(KEYS)] == KEYS for row in told if row["metric"])
    assert all(set(KEYS) <= set(row) for row in told)
    assert [row["test"] for row in told] == ["context", "context", "facts"]
    assert np.isfinite([row["difference"] for row in told if row["metric"]]).all()
    text = page.read_text()
    assert "Not tested" in text
    assert "no data for it; it needs a table of facts" in text
