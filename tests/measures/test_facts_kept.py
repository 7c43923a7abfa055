"""The measure `facts`: answers told by hand, strata and relations, attention as transformers hands it out, and real facts."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from pliant.data import load_tokenizer
from pliant.data.facts import Facts
from pliant.errors import PliantError
from pliant.measures import FactsKept
from pliant.measures.facts import begins
from pliant.measures.subject_attention import SubjectPrompt, subject_attention, subject_span
from pliant.models import build, load
from pliant.models.generation import Said

BORN = [("Anna", "Rome"), ("Bert", "Oslo"), ("Cleo", "Rome"), ("Dora", "Lima")]
MADE = [("Tea", "China"), ("Ale", "Kent")]


@pytest.fixture(scope="module")
def model():
    return build("llama-16x2", load_tokenizer("ascii"), 0, context=256)


@pytest.fixture
def table(tmp_path):
    for name, facts, pattern in (("born", BORN, "[X] was born in [Y]."), ("made", MADE, "[X] comes from [Y].")):
        for folder, told in (("facts", [{"sub_label": one, "obj_label": other} for one, other in facts]), ("ways", [{"pattern": pattern}])):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, told)))
    return {"source": str(tmp_path / "facts"), "patterns": str(tmp_path / "ways")}


def read(monkeypatch, model, said, **fields):
    """The readings by metric where the model says what `said` has for the last words of a prompt, and the prompts."""
    asked = []

    def generated(model, prompts, **settings):
        asked.extend(prompts)
        return [Said(next(text for name, text in said.items() if f"{name} " in prompt.split("\n")[-1]), True) for prompt in prompts]

    monkeypatch.setattr("pliant.measures.facts.generate", generated)
    return {one.metric: one for one in FactsKept(**fields).readings(model)}, asked


SAYS = {"Anna": "Rome. He", "Bert": "Rome", "Cleo": "the Rome", "Dora": "Lim", "Tea": "China", "Ale": "China"}


@pytest.mark.parametrize(
    ("said", "answers", "right"),
    [
        ("Rome, in Italy.", ["Rome"], True),
        ("The Hague is", ["hague"], True),
        ("Romeo", ["Rome"], False),
        ("in Rome", ["Rome"], False),
        ("NYC", ["New York City", "N.Y.C."], True),
        ("", ["Rome"], False),
        ("anything", ["the"], False),
    ],
)
def test_an_answer_begins_with_an_alias_word_for_word(said, answers, right):
    assert begins(said, answers) == right


def test_rates_are_told_by_relation_and_generic_answers_are_wrong_ones(model, table, monkeypatch):
    found, asked = read(monkeypatch, model, SAYS, data=table, shots=1)
    rates = {metric: one.estimate().value for metric, one in found.items()}
    assert rates["accuracy"] == 3 / 6
    assert rates["exact_match"] == 2 / 6, "of `Rome. He` the whole line is compared"
    assert rates["generic"] == pytest.approx(2 / 6), "Bert in Rome and Ale from China; Anna and Cleo are from Rome"
    assert (rates["accuracy of born"], rates["accuracy of made"]) == (2 / 4, 1 / 2)
    assert found["generic"].better == "lower"
    assert len(found["accuracy"].answers) == 6
    assert all(prompt.count("\n") == 1 for prompt in asked), "one other fact is shown"
    shown = dict([*BORN, *MADE])
    for prompt in asked:
        first, last = prompt.split("\n")
        assert first.split()[-1] == shown[first.split()[0]]
        assert first.split()[0] != last.split()[0]
        assert last.endswith((" was born in", " comes from"))


def test_facts_are_parted_at_the_median_of_their_relation(model, table, tmp_path, monkeypatch):
    found, _ = read(monkeypatch, model, SAYS, data=table)
    ids = dict(zip(found["accuracy"].samples, found["accuracy"].values, strict=True))
    asked = {name: fact.asked for name, fact in Facts(**table).facts("all", Counter())}
    scores = {"Anna": -1.0, "Bert": -4.0, "Cleo": -2.0, "Dora": -20.0, "Tea": -0.5, "Ale": -0.6}
    (tmp_path / "scores.jsonl").write_text("\n".join(json.dumps({"id": name, "score": scores[asked[name]]}) for name in ids))
    told, _ = read(monkeypatch, model, SAYS, data=table, known=str(tmp_path / "scores.jsonl"), unknown_below=-10.0, by_relation=False)
    groups = {name: sorted(asked[sample] for sample in told[f"accuracy of {name}"].samples) for name in ("known", "less known", "unknown")}
    assert groups == {"known": ["Anna", "Cleo", "Tea"], "less known": ["Ale", "Bert"], "unknown": ["Dora"]}
    assert told["accuracy of known"].estimate().value == 1.0
    assert "accuracy of born" not in told
    (tmp_path / "scores.jsonl").write_text(json.dumps({"id": "0" * 16, "score": 1.0}))
    with pytest.raises(PliantError, match="6 of 6 facts have no value"):
        read(monkeypatch, model, SAYS, data=table, known=str(tmp_path / "scores.jsonl"))


@pytest.mark.parametrize("family", ["llama-16x2", "gpt-neox-16x2"])
def test_attention_on_the_subject_is_what_transformers_hands_out(family):
    model = build(family, load_tokenizer("ascii"), 0, context=64)
    one = SubjectPrompt("Q: ", "Anna", " was born in")
    ids = model.tokenizer.encode([one.prompt])[0]
    assert subject_span(model, one, ids) == (3, 7), "bytes are tokens"
    before = model.network.config._attn_implementation
    found = subject_attention(model, [one, SubjectPrompt("", "x", "")])
    assert model.network.config._attn_implementation == before
    assert found[1] == pytest.approx(1.0), "a lone token attends to itself"
    model.network.set_attn_implementation("eager")
    with torch.no_grad():
        told = model.network.eval()(input_ids=torch.tensor(ids.astype(np.int64))[None], output_attentions=True).attentions
    assert found[0] == pytest.approx(float(np.mean([layer[0, :, -1, 3:7].sum(-1).mean() for layer in told])), abs=1e-6)


def test_bad_input_is_a_line(model, table, tmp_path):
    (tmp_path / "ways" / "born.jsonl").rename(tmp_path / "ways" / "other.jsonl")
    (tmp_path / "ways" / "made.jsonl").unlink()
    with pytest.raises(PliantError, match="no fact can be asked for"):
        FactsKept(data=table).readings(model)
    (tmp_path / "long.jsonl").write_text(json.dumps({"question": "why " * 100, "answer": "so"}))
    with pytest.raises(PliantError, match="has no room for beside answers of 16"):
        FactsKept(data=str(tmp_path / "long.jsonl")).readings(model)


def test_real_facts_are_asked_of_a_real_model(shared_data: Path):
    model = load(str(shared_data / "models" / "stories260K-hf"))
    folder = shared_data / "qa" / "pararel_trex" / "data"
    form = {"source": str(folder / "trex_lms_vocab" / "P36.jsonl.gz"), "patterns": str(folder / "pattern_data" / "graphs_json")}
    found = {one.metric: one for one in FactsKept(data=form, samples=12, most=6, attention=True).readings(model)}
    assert set(found) == {"accuracy", "exact_match", "f1", "generic", "subject_attention"}
    assert (found["exact_match"].values <= found["accuracy"].values).all()
    assert ((found["subject_attention"].values > 0) & (found["subject_attention"].values < 1)).all()
    questions = FactsKept(data=str(shared_data / "qa" / "nq_open" / "NQ-open.dev.jsonl"), samples=6, most=4)
    assert len(questions.readings(model)[0].values) == 6
    assert FactsKept.on(str(shared_data / "qa" / "nq_open" / "NQ-open.dev.jsonl")) is not None
    assert FactsKept.on(str(shared_data / "finetune" / "gsm8k" / "test.jsonl")) is None, "worked answers are no facts"
