"""Accuracy and calibration: closed forms, scikit-learn's figures, pairs before and after a change."""

import json

import numpy as np
import pytest
import torch

from pliant.changes import CHANGES
from pliant.data import load_tokenizer
from pliant.errors import PliantError
from pliant.measures import MEASURES, Accuracy
from pliant.measures.accuracy import calibration_values
from pliant.models import build, with_head
from pliant.objectives import Label
from pliant.train import Recipe, train
from pliant.train.new_model import NewModel

COLOURS = ["red", "green", "blue"]


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))
    records = [{"text": f"{n} is {COLOURS[n % 3]}" + "." * (n % 7), "label": COLOURS[n % 3]} for n in range(90)]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, records)))
    return str(tmp_path / "data.jsonl")


@pytest.fixture
def model():
    found = with_head(build("llama-16x2", load_tokenizer("ascii"), 0, context=32), "sequence", ["blue", "green", "red"])
    with torch.no_grad():
        found.network.score.weight.mul_(4)
    return found


def by_name(readings):
    return {reading.metric: reading for reading in readings}


def test_figures_are_those_of_plain_formulas(data, model):
    found = by_name(Accuracy(data=data, part="all", bins=7).readings(model))
    examples = Label(data=data, part="all").examples(model, None)
    logits = torch.cat([model.network(**examples.at(np.array([n])).inputs).logits.detach() for n in range(90)]).double()
    labels = examples.at(np.arange(90)).targets
    chances = logits.softmax(-1).numpy()
    right = chances.argmax(1) == labels.numpy()
    means = {name: reading.estimate().value for name, reading in found.items()}
    assert means["accuracy"] == right.mean()
    assert means["nll"] == pytest.approx(float(torch.nn.functional.cross_entropy(logits, labels)), rel=1e-6)
    assert means["brier"] == pytest.approx(np.square(chances - np.eye(3)[labels.numpy()]).sum(1).mean(), rel=1e-6)
    places = (chances.max(1) * 7).astype(int)
    parts = [(places == b).mean() * abs(right[places == b].mean() - chances.max(1)[places == b].mean()) for b in set(places)]
    assert means["calibration_error"] == pytest.approx(sum(parts), abs=1e-7)
    for number, name in enumerate(["blue", "green", "red"]):
        inside = labels.numpy() == number
        assert means[f"accuracy of {name}"] == right[inside].mean()
        assert len(found[f"accuracy of {name}"].samples) == 30
    assert {name: reading.better for name, reading in found.items() if not name.startswith("accuracy of")} == {
        "accuracy": "higher",
        "nll": "lower",
        "brier": "lower",
        "calibration_error": "lower",
    }
    assert list(found["accuracy"].samples) == list(examples.ids)


def test_a_closed_form_of_the_calibration_error():
    sure, right = np.array([0.9, 0.9, 0.6, 0.6]), np.array([1.0, 0.0, 1.0, 1.0])
    assert calibration_values(sure, right, 10).mean() == pytest.approx(0.5 * abs(0.9 - 0.5) + 0.5 * abs(0.6 - 1))
    assert calibration_values(np.array([1.0, 1.0]), np.ones(2), 15).tolist() == [0, 0]
    rng = np.random.default_rng(0)
    sure = rng.random(40000)
    assert calibration_values(sure, (rng.random(40000) < sure).astype(float), 10).mean() < 0.01


def test_pairs_before_and_after_a_change(data, model):
    measure, before = Accuracy(data=data), by_name(Accuracy(data=data).readings(model))
    change = CHANGES.parse({"finetune": {"objective": {"label": {"data": data}}, "lr": 2e-2, "steps": 60, "batch": 16}})
    with change.applied(model) as changed:
        after = by_name(measure.readings(changed))
    rise = (after["accuracy"] - before["accuracy"]).estimate()
    assert rise.value > 0.2
    assert (after["nll"] - before["nll"]).estimate().value < 0
    assert (after["brier"] - before["brier"]).estimate().value < 0


def test_images_are_read_as_texts_are(tmp_path, monkeypatch):
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))
    learned = Label(data="builtin:digits")
    model = NewModel(preset="mlp-32x1").build(0, learned.needs())
    train(model, learned, Recipe(lr=1e-2, steps=150, batch=32), quiet=True)
    found = by_name(MEASURES.parse({"accuracy": {"data": "builtin:digits"}}).readings(model))
    assert found["accuracy"].estimate().value > 0.85
    assert len(found) == 4 + 10
    assert 100 < len(found["accuracy"].samples) < 260
    assert len(by_name(Accuracy(data="builtin:digits", per_class=False, samples=50).readings(model))["brier"].samples) == 50


def test_what_it_cannot_be_read_off_is_one_line(data, model):
    with pytest.raises(PliantError, match="is a causal language model; accuracy is read off a classifier"):
        Accuracy(data=data).readings(build("llama-16x1", load_tokenizer("ascii")))
    with pytest.raises(PliantError, match="label 'blue' is unknown to its head, which has a, b"):
        Accuracy(data=data).readings(with_head(model, "sequence", ["a", "b"]))
    with torch.no_grad():
        model.network.score.weight.fill_(float("nan"))
    with pytest.raises(PliantError, match=r"llama-16x2 on .*: the model's answers are no finite numbers"):
        Accuracy(data=data).readings(model)


def test_the_size_of_a_batch_changes_nothing(data, model):
    first, second = (by_name(Accuracy(data=data, batch=batch).readings(model))["nll"].values for batch in (1, 64))
    assert first == pytest.approx(second, abs=1e-6)
