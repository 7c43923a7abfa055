"""What image networks cost, and what ladders of labels are counted in."""

from __future__ import annotations

import pytest
import torch

from pliant.changes import Finetune
from pliant.data import load_tokenizer
from pliant.measures import Accuracy
from pliant.models import build
from pliant.models.images import ImageInput
from pliant.models.operations import tokens_of_image
from pliant.models.presets import Given, Preset
from pliant.study import Study, plan
from pliant.study.ladders import parse_ladder

DIGITS = {"label": {"data": "builtin:digits"}}


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))


def outline(preset, side=32, channels=3):
    with torch.device("meta"):
        return Preset.parse(preset).network(Given(images=ImageInput((side, side), channels), labels=tuple("0123456789")))


def test_an_image_counts_as_its_multiply_adds():
    mlp = outline("mlp-16x1", 8, 1)
    assert tokens_of_image(mlp) * mlp.num_parameters() == pytest.approx(64 * 16 + 16 * 10)  # by hand: two matrices, biases add none
    resnet = outline("resnet-20")
    halves = [(3, 16, 32), *[(16, 16, 32)] * 6, (16, 32, 16), *[(32, 32, 16)] * 5, (32, 64, 8), *[(64, 64, 8)] * 5]
    by_hand = sum(9 * inputs * outputs * side**2 for inputs, outputs, side in halves) + 64 * 10
    assert tokens_of_image(resnet) * resnet.num_parameters() == pytest.approx(by_hand)
    assert tokens_of_image(build("llama-16x1", load_tokenizer("bytes"), 0).network) is None


def test_training_tokens_are_those_that_are_read():
    rows, image = 30 * 8, 150.0
    assert Finetune(objective=DIGITS, lr=1e-3).training_tokens(image) == rows * image  # pyright: ignore[reportArgumentType]
    every = Finetune(objective={"label": {"data": "builtin:digits", "part": "all"}}, epochs=2, lr=1e-3)  # pyright: ignore[reportArgumentType]
    assert every.training_tokens(image) == 2 * 1797 * image
    assert Finetune(data="builtin:prose", lr=1e-3).training_tokens(256) == rows * 64  # pyright: ignore[reportArgumentType]
    measure = Accuracy(data="builtin:digits", samples=50)  # pyright: ignore[reportArgumentType]
    assert (measure.tokens(), measure.pictures()) == (0, 50)


def test_every_text_of_a_pair_is_counted(tmp_path):
    pairs, triplets = tmp_path / "pairs.jsonl", tmp_path / "triplets.jsonl"
    pairs.write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}')
    triplets.write_text('{"query": "a", "positive": "b", "negatives": ["c", "d"]}')
    read = {kind: str(pairs) for kind in ("dpo", "bradley_terry")} | {"contrast": str(triplets)}
    found = {kind: Finetune(objective={kind: {"data": data}}, lr=1e-3, length=16).training_tokens(256) for kind, data in read.items()}  # pyright: ignore[reportArgumentType]
    assert found == {"dpo": 30 * 8 * 2 * 16, "bradley_terry": 30 * 8 * 2 * 16, "contrast": 30 * 8 * 4 * 16}


def test_ladders_of_labels_count_examples(tmp_path):
    ladder = {"model": ["cnn-4x1"], "objective": DIGITS, "batch": 16, "schedule": "constant"}
    for budget in ({"examples": [32, 64]}, {"tokens": [32, 64]}):
        found = parse_ladder({"ladder": ladder | budget})
        rungs = found.rungs(0, tmp_path)
        checkpoints = [rung.checkpoint for rung in rungs]
        assert (found.along(checkpoints), [checkpoint.examples for checkpoint in checkpoints]) == ("examples", [32, 64])
        image = tokens_of_image(rungs[0].outline())
        assert image is not None
        assert rungs[0].cost == pytest.approx(6 * rungs[0].counts[0] * 32 * image)
    assert parse_ladder({"ladder": ladder | {"steps": [2, 4]}}).along(checkpoints) == "steps"
    study = {
        "checkpoints": {"ladder": ladder | {"examples": [32, 64]}},
        "measures": {"acc": {"accuracy": {"data": "builtin:digits", "samples": 20, "per_class": False}}},
        "questions": ["checkpoint"],
    }
    planned = plan(Study.parse(study))
    assert (planned.axis, planned.remarks) == ("examples", [])
    assert planned.cells[0].cost.flops == pytest.approx(2 * rungs[0].counts[0] * 20 * image)


def test_a_measure_of_several_readings_has_a_decision_for_each_by_name(tmp_path):
    from pliant.decide.curves.checkpoint import decide
    from pliant.study import run

    study = {
        "checkpoints": {"ladder": {"model": "mlp-8x1", "objective": DIGITS, "batch": 16, "examples": [32, 64]}},
        "measures": {"acc": {"accuracy": {"data": "builtin:digits", "samples": 40, "per_class": False}}},
        "changes": [{"finetune": {"objective": {"label": {"data": "builtin:digits"}}, "steps": 2, "lr": [1e-3, 1e-2]}}],
    }
    runs = run(Study.parse(study), tmp_path / "ledger", workers=0)
    found = decide(runs)
    names = {"acc accuracy", "acc nll", "acc brier", "acc calibration_error"}
    assert {one.metric for one in found} == names
    assert sum(one.tuned for one in found) == 4  # each reading at the rate that is best for accuracy
    tuned = {one.metric: {point.lr for point in one.evidence.curve} for one in found if one.tuned}
    assert len({frozenset(rates) for rates in tuned.values()}) == 1
    assert all(one.evidence.metric == one.metric.removeprefix("acc ") and one.evidence.measure == "acc" for one in found)
    assert "examples" in found[0].sentence()
