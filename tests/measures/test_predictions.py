"""What a model answers, and how often two answer alike."""

import json

import numpy as np
import pytest

from pliant.changes import Perturb
from pliant.data import load_tokenizer
from pliant.errors import PliantError
from pliant.measures import Accuracy, Choice, Predictions, agreement
from pliant.models import build, with_head

COLOURS = ["blue", "green", "red"]


@pytest.fixture
def texts(tmp_path, monkeypatch):
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))
    records = [{"text": f"{n} is {COLOURS[n % 3]}" + "." * (n % 7), "label": COLOURS[n % 3]} for n in range(60)]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, records)))
    return str(tmp_path / "data.jsonl")


def test_a_classifiers_answers_are_right_where_it_is_accurate(texts):
    model = with_head(build("llama-16x2", load_tokenizer("ascii"), 0, context=32), "sequence", COLOURS)
    measure = Accuracy(data=texts, part="all")
    found, reading = measure.predictions(model), measure(model)
    assert list(found.samples) == list(reading.samples)
    words = dict(zip(found.samples, found.answers(), strict=True))
    assert set(words.values()) <= set(COLOURS)
    assert agreement(found, found).estimate().value == 1
    with Perturb(scale=3.0).applied(model, 0) as changed:
        other, then = measure.predictions(changed), measure(changed)
    alike = agreement(found, other)
    assert alike.values.tolist() == (found.values == other.values).astype(float).tolist()
    flipped = reading.values != then.values
    assert not (flipped & (alike.values == 1)).any()  # who answers alike is as right as before


def test_choices_are_places_among_the_answers(tmp_path):
    records = [
        {"id": str(n), "question": f"{n}?", "choices": {"text": ["two", "nine"], "label": ["A", "B"]}, "answerKey": "AB"[n % 2]}
        for n in range(8)
    ]
    (tmp_path / "set.jsonl").write_text("\n".join(map(json.dumps, records)))
    measure = Choice(data=str(tmp_path / "set.jsonl"))
    model = build("llama-16x2", load_tokenizer("ascii"), 0, context=48)
    found = measure.predictions(model)
    assert (found.values == np.arange(8) % 2).astype(float).tolist() == measure(model).values.tolist()
    with pytest.raises(PliantError, match="no rule 'acc'"):
        measure.predictions(model, by="acc")


def test_unlike_answers_are_refused():
    one = Predictions(["a", "b"], np.array([0, 1]), ("x", "y"), "d")
    with pytest.raises(PliantError, match="other items"):
        agreement(one, Predictions(["a", "c"], np.array([0, 1]), ("x", "y"), "d"))
    with pytest.raises(PliantError, match="answers with x, y, the other with y, x"):
        agreement(one, Predictions(["a", "b"], np.array([0, 1]), ("y", "x"), "d"))
