"""The measure `context`: which of two answers is in what a model says, told by hand; real conflict sets; and an inversion found."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

import pliant as pl
from pliant.data import load_tokenizer
from pliant.data.conflicts import Conflicts
from pliant.errors import PliantError
from pliant.measures import ContextReliance
from pliant.measures.context import contained
from pliant.models import build, load, save
from pliant.models.generation import Said

STEPS = (100, 200, 300, 400, 500, 600)
FOLLOWED = (0.3, 0.6, 0.9, 0.85, 0.5, 0.2)
"""The share of answers that follow the context at each step."""


def write(path, records):
    path.write_text("\n".join(map(json.dumps, records)))
    return str(path)


def conflict(number=0, **fields):
    told = {"context": f"Rome moved to Oslo, {number}.", "question": f"Where is {number}?", "answer": "Oslo", "memory_answer": "Rome"}
    return {**told, **fields}


@pytest.fixture(scope="module")
def model():
    return build("llama-16x1", load_tokenizer("ascii"), 0, context=128)


@pytest.mark.parametrize(
    ("said", "given", "known", "held"),
    [
        ("It is Oslo.", "oslo", "rome", (True, False)),
        ("Rome, but then Oslo", "oslo", "rome", (True, True)),
        ("nobody knows", "oslo", "rome", (False, False)),
        ("New Cairo", "new cairo", "cairo", (True, False)),
        ("Cairo became New Cairo", "new cairo", "cairo", (True, True)),
        ("Hulhumale", "male", "hulhumale", (False, True)),
    ],
)
def test_an_answer_inside_the_other_counts_once(said, given, known, held):
    assert contained(said, given, known) == held


def test_the_four_cases_are_told_apart_and_a_question_is_one_cluster(model, tmp_path, monkeypatch):
    texts = ["Oslo", "Rome", "from Rome to Oslo", "no idea"] * 2
    asked = []

    def said(model, prompts, **settings):
        asked.extend(prompts)
        return [Said(text, True) for text in texts]

    monkeypatch.setattr("pliant.measures.context.generate", said)
    records = [conflict(n % 4, context=f"{{question}} {n} in Oslo") for n in range(8)]
    found = {one.metric: one for one in ContextReliance(data=write(tmp_path / "c.jsonl", records)).readings(model)}
    rates = {metric: one.values.tolist()[:4] for metric, one in found.items()}
    assert rates == {
        "counterfactual": [1, 0, 1, 0],
        "parametric": [0, 1, 1, 0],
        "context_only": [1, 0, 0, 0],
        "memory_only": [0, 1, 0, 0],
        "both": [0, 0, 1, 0],
        "neither": [0, 0, 0, 1],
        "words": [1, 1, 4, 2],
    }
    first = found["counterfactual"]
    assert len(set(first.samples)) == 8
    assert first.estimate().stderr == pytest.approx(np.std([1, 0, 1, 0], ddof=1) / 2), "four questions, not eight items"
    assert list(first.answers) == texts
    assert asked[0] == "Background: {question} 0 in Oslo\nQuestion: Where is 0?\nAnswer:", "braces of a context stay"


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([conflict(), conflict(1, memory_answer="OSLO ")], "line 2: the answer of the context, 'Oslo', is also the one that is known"),
        ([conflict(memory_answer="The Oslo")], "are compared as the same"),
        ([conflict(), conflict(1, context=" ")], "line 2: the context is empty"),
        ([{"context": "x", "question": "y", "answer": "z"}], "no field 'memory_answer'"),
        ([conflict(answer=["Oslo"])], "holds list, not text"),
        ([], "the set is empty"),
        ([conflict(context="Oslo " * 40)], r"the prompt of item 1 has 2\d\d tokens \(1 of 1 are too long\)"),
    ],
)
def test_bad_sets_are_refused_in_a_line(model, tmp_path, records, said):
    with pytest.raises(PliantError, match=said):
        ContextReliance(data=write(tmp_path / "c.jsonl", records)).readings(model)


def test_bad_templates_are_refused():
    with pytest.raises(PliantError, match="question"):
        pl.measures.MEASURES.parse({"context": {"data": "x", "template": "{context}"}}, "measure")


def test_conflicts_are_made_from_facts_whatever_their_order(tmp_path):
    cities = ["Rome", "Oslo", "Bonn", "Lima", "Rome"]
    facts = [{"sub_label": f"person {n}", "obj_label": city} for n, city in enumerate(cities)]
    form = {"memory": "obj_label", "question": "Where was {sub_label} born?", "context": "{sub_label} was born in {answer}."}
    sources = [write(tmp_path / name, told) for name, told in (("a.jsonl", facts), ("b.jsonl", facts[::-1]))]
    one, other = (list(Conflicts(source=source, **form).conflicts()) for source in sources)
    assert {item.id: item.given for item in one} == {item.id: item.given for item in other}
    assert all(item.given != item.known and item.given in item.context for item in one)
    with pytest.raises(PliantError, match="every fact has the answer 'Rome'"):
        list(Conflicts(source=write(tmp_path / "c.jsonl", [facts[0], facts[4]]), **form).conflicts())
    first, drawn = Conflicts(source=sources[0], **form), Conflicts(source=sources[0], **form, seed=1)
    assert first.fingerprint() != drawn.fingerprint()


def test_released_sets_are_read_and_a_real_model_answers(shared_data: Path):
    folder = shared_data / "context" / "cf_context"
    world, lives = (list(Conflicts(source=str(folder / name)).conflicts()) for name in ("world_facts.json", "famous_biographies.jsonl"))
    assert (len(world), len(lives), len({item.id for item in lives})) == (313, 555, 111)
    model = load(str(shared_data / "models" / "stories260K-hf"))
    found = ContextReliance(data=str(folder / "world_facts.json"), samples=6, most=8).readings(model)
    by_name = {one.metric: one.values for one in found}
    exclusive = sum(by_name[name] for name in ("context_only", "memory_only", "both", "neither"))
    assert (exclusive == 1).all()
    assert (by_name["counterfactual"] == by_name["context_only"] + by_name["both"]).all()
    with pytest.raises(PliantError, match="are too long"):
        ContextReliance(data=str(folder / "famous_biographies.jsonl"), samples=2).readings(model)


def test_the_checkpoint_question_finds_the_inversion(tmp_path, monkeypatch):
    """Six checkpoints of a run whose answers follow the context more and more until step 300, and less after it."""
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))
    data = write(tmp_path / "c.jsonl", [conflict(n) for n in range(200)])
    for seed, step in enumerate(STEPS):
        save(build("llama-16x1", load_tokenizer("ascii"), seed, context=128), tmp_path / f"checkpoint-{step}")

    def said(model, prompts, **settings):
        share = dict(zip(STEPS, FOLLOWED, strict=True))[model.checkpoint.steps]
        return [Said("Oslo" if number < share * len(prompts) else "Rome", True) for number, _ in enumerate(prompts)]

    monkeypatch.setattr("pliant.measures.context.generate", said)
    study = {
        "checkpoints": {"folders": str(tmp_path / "checkpoint-*"), "axis": "steps"},
        "measures": {"conflict": {"context": {"data": data}}},
        "questions": ["checkpoint"],
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    runs = pl.run(tmp_path / "study.yaml", ledger=tmp_path / "ledger")
    decided = {found.metric: found for found in pl.decide.checkpoint(runs)}
    told = decided["conflict counterfactual"].json()
    assert (told["verdict"], told["best"]) == ("degrades", 300)
    assert told["rise_low"] < 0.9 - 0.2 < told["rise_high"]
