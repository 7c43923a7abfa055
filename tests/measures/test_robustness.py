"""Robustness: paired with the clean accuracy, checked against masked gradients, on images, texts and prompts."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from attacked_digits import trained_digits
from pliant.cli import main
from pliant.data import load_tokenizer
from pliant.errors import PliantError
from pliant.measures import Accuracy, Reading
from pliant.measures.robustness import Robustness
from pliant.models import Model, build, with_head
from pliant.models.save import save
from pliant.objectives import Label
from pliant.train import Recipe, train

ATTACK = {"pgd": {"epsilon": 0.15, "steps": 10}}


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLIANT_CACHE", str(tmp_path_factory.getbasetemp() / "image-cache"))
        yield


@pytest.fixture(scope="module")
def folder(_cache: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("models") / "cnn"
    save(trained_digits().model, place)
    return place


@pytest.fixture
def model(folder: Path) -> Model:
    from pliant.models import load

    return load(folder)


@pytest.fixture
def pliant(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the command with arguments: exit code, standard output, standard error."""

    def command(*arguments: str) -> tuple[Any, str, str]:
        monkeypatch.setattr(sys, "argv", ["pliant", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return (ended.value.code or 0, *capsys.readouterr())

    return command


def read(model: Model, attack: Any = ATTACK, **fields: Any) -> dict[str, Reading]:
    measure = Robustness(data="builtin:digits", attack=attack, **fields)  # pyright: ignore[reportArgumentType]
    return {reading.metric: reading for reading in measure.readings(model)}


def mean(reading: Reading) -> float:
    return float(reading.values.mean())


def test_robust_accuracy_pairs_with_the_clean_one(model: Model) -> None:
    found = read(model, checked=32)
    clean, robust, lost = (found[name] for name in ("clean_accuracy", "robust_accuracy", "lost_to_attack"))
    own = Accuracy(data="builtin:digits").readings(model)[0]  # pyright: ignore[reportArgumentType]
    assert list(clean.samples) == list(own.samples)
    assert clean.values.tolist() == own.values.tolist()
    assert (clean.values - robust.values).tolist() == lost.values.tolist()
    assert 0 < mean(robust) < 0.5 < 0.9 < mean(clean)
    assert [found[name].better for name in ("robust_accuracy", "lost_to_attack")] == ["higher", "lower"]
    assert mean(found["missed_by_attack"]) <= 0.04
    assert mean(found["accuracy without a bound"]) <= 0.04
    assert mean(found["accuracy after one step"]) > mean(robust)
    assert mean(found["accuracy after random signs"]) > mean(found["accuracy after one step"])
    assert len(found["accuracy after one step"].values) == 32


def test_without_a_budget_nothing_is_lost(model: Model) -> None:
    found = read(model, {"pgd": {"epsilon": 0}}, checked=0)
    assert found["robust_accuracy"].values.tolist() == found["clean_accuracy"].values.tolist()
    assert set(found) == {"clean_accuracy", "robust_accuracy", "lost_to_attack"}


def test_how_many_go_together_changes_nothing_that_matters(model: Model) -> None:
    one, other = (read(model, checked=0, samples=40, batch=batch)["robust_accuracy"].values for batch in (40, 7))
    assert (one != other).sum() <= 1  # rounding


def test_a_target_has_its_benign_control(model: Model) -> None:
    found = read(model, {"pgd": {"epsilon": 0.2, "steps": 10, "target": "3"}}, checked=32)
    reached, benign = found["target_reached"], found["target_reached_clean"]
    assert mean(benign) < 0.05
    assert mean(reached) > 0.5
    assert list(reached.samples) == list(benign.samples)
    assert len(reached.samples) < len(found["clean_accuracy"].samples)
    assert mean(found["accuracy without a bound"]) < 0.04
    with pytest.raises(PliantError, match="target 'cat' is no class of builtin:digits"):
        read(model, {"pgd": {"target": "cat"}})


def test_masked_gradients_are_found_out(model: Model, capsys: pytest.CaptureFixture[str]) -> None:
    """Logits a thousand times larger: the same answers, a loss that is zero in float32, and an attack that goes nowhere."""
    honest = read(model, checked=64)
    assert "masked" not in capsys.readouterr().err
    with torch.no_grad():
        model.network.classifier.weight.mul_(1000)
        model.network.classifier.bias.mul_(1000)
    masked = read(model, checked=64)
    assert masked["clean_accuracy"].values.tolist() == honest["clean_accuracy"].values.tolist()
    assert mean(masked["robust_accuracy"]) > mean(honest["robust_accuracy"]) + 0.3
    said = capsys.readouterr().err
    assert "gradients are masked" in said
    assert "stay right where the budget allows any picture" in said
    assert "stronger ones break" in said  # the margin still has gradients
    by_margin = read(model, {"pgd": {"epsilon": 0.15, "steps": 10, "climbs": "margin"}}, checked=0)
    assert mean(by_margin["robust_accuracy"]) < mean(honest["robust_accuracy"]) + 0.05


def test_texts_are_attacked_in_their_embeddings(tmp_path: Path) -> None:
    colours = ["red", "green", "blue"]
    records = [{"text": f"{n} is {colours[n % 3]}" + "." * (n % 7), "label": colours[n % 3]} for n in range(60)]
    data = tmp_path / "data.jsonl"
    data.write_text("\n".join(map(json.dumps, records)))
    model = with_head(build("llama-16x2", load_tokenizer("ascii"), 0, context=32), "sequence", sorted(colours))
    train(model, Label(data=str(data), part="all"), Recipe(lr=2e-2, steps=40, batch=16), quiet=True)  # pyright: ignore[reportArgumentType]
    losses = {}
    for epsilon in (0.0, 1.0):
        measure = Robustness(data=str(data), part="all", attack={"pgd": {"epsilon": epsilon}}, checked=0)  # pyright: ignore[reportArgumentType]
        losses[epsilon] = {reading.metric: mean(reading) for reading in measure.readings(model)}
    assert losses[0.0]["lost_to_attack"] == 0
    assert losses[0.0]["clean_accuracy"] > 0.9
    assert losses[1.0]["robust_accuracy"] < 0.5


def test_as_a_command_with_a_change(folder: Path, pliant: Any) -> None:
    base = ["measure", "robustness", "--model", str(folder), "--data", "builtin:digits", "--samples", "40", "--checked", "8", "--json"]
    code, out, errors = pliant(*base, "--attack", "pgd: {epsilon: 0.1}", "--change", "quantize: {bits: 3, tensors: matrices}")
    assert code == 0, errors
    told = {row["metric"]: row for row in json.loads(out)}
    assert told["robust_accuracy"]["better"] == "higher"
    assert len(told["robust_accuracy"]["results"]) == 3
    assert told["robust_accuracy"]["results"]["unchanged"]["n"] == 40


def test_bad_input_is_one_line(folder: Path, model: Model, tmp_path: Path, pliant: Any) -> None:
    with pytest.raises(PliantError, match="epsilon 2 is more than a pixel's whole range"):
        read(model, {"pgd": {"epsilon": 2}})
    causal = build("llama-16x2", load_tokenizer("ascii"), context=16)
    with pytest.raises(PliantError, match="is a causal language model; robustness is read off a classifier"):
        read(causal)
    with torch.no_grad():
        model.network.classifier.weight.fill_(float("nan"))
    with pytest.raises(PliantError, match="no finite numbers"):
        read(model)
    assert pliant("measure", "robustness", "-m", str(folder), "--data", str(tmp_path / "none"), "--attack", "pgd")[0] == 2


def test_images_of_several_sizes_are_brought_to_that_of_the_network(folder: Path, tmp_path: Path, pliant: Any) -> None:
    from PIL import Image

    for name, side in (("0", 8), ("1", 9)):
        (tmp_path / "several" / name).mkdir(parents=True)
        Image.fromarray(np.full((side, side), 90, np.uint8)).save(tmp_path / "several" / name / "1.png")
    given = ["--data", str(tmp_path / "several"), "--part", "all", "--attack", "pgd", "--json"]
    code, out, errors = pliant("measure", "robustness", "-m", str(folder), *given)
    assert code == 0, errors
    assert json.loads(out)[0]["results"]["unchanged"]["n"] == 2
