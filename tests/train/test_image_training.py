"""Training on images: real ones are learned, every kind of preset learns digits, and a killed run ends bit for bit as if it never was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pliant.data.images import Images
from pliant.errors import PliantError
from pliant.measures import Accuracy
from pliant.methods import Method
from pliant.models import Model, build, load
from pliant.models.batch_norm import norms_with_statistics
from pliant.objectives import Label
from pliant.train import Recipe, train
from pliant.train.ladder import TrainedLadder

RECIPE = Recipe(lr=3e-3, steps=12, batch=16)
AUGMENTED = {"source": "builtin:digits", "augment": {"crop": 1, "flip": True}}


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path_factory.getbasetemp() / "image-cache"))


class Interrupt(Method):
    """Raises after a step."""

    at: int = -1

    def after_step(self, run: Any, state: Any) -> None:
        if run.step == self.at:
            raise KeyboardInterrupt

    def canonical(self) -> dict[str, Any]:
        return {"kind": self.kind}  # the same run, whether it will be interrupted or not


def fresh(objective: Label, preset: str, seed: int = 0) -> Model:
    needs = objective.needs()
    return build(preset, seed=seed, images=needs.images, labels=needs.labels)


def run(folder: Path | None, at: int = -1) -> Model:
    objective = Label(data=AUGMENTED)  # pyright: ignore[reportArgumentType]
    model = fresh(objective, "resnet-8x4")
    train(model, objective, RECIPE, seed=2, methods=[Interrupt(at=at)], folder=folder, save_every=0.0, quiet=True)
    return model


def test_an_interrupted_run_ends_bit_identical_running_statistics_included(tmp_path: Path) -> None:
    whole = run(None)
    buffers = [buffer for layer in norms_with_statistics(whole.network) for buffer in layer.buffers()]
    assert all(int(buffer) == 12 for buffer in buffers if not buffer.is_floating_point())
    for at in (0, 5, 11):
        folder = tmp_path / str(at)
        with pytest.raises(KeyboardInterrupt):
            run(folder, at)
        again = run(folder)
        assert again.weights() == whole.weights()
        found = [buffer for layer in norms_with_statistics(again.network) for buffer in layer.buffers()]
        assert all(torch.equal(one, other) for one, other in zip(found, buffers, strict=True))


KILLED = """
import os, signal, sys, threading, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import test_image_training as tests

folder = Path(sys.argv[1])

def kill_after_a_save():
    while not (folder / "state.safetensors").exists():
        time.sleep(0.001)
    time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGKILL)

threading.Thread(target=kill_after_a_save, daemon=True).start()
tests.run(folder)
"""


@pytest.mark.slow
def test_a_killed_process_is_gone_on_from(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", KILLED, str(tmp_path), str(Path(__file__).parent)]
    ended = subprocess.run(arguments, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    assert run(tmp_path).weights() == run(None).weights()


@pytest.mark.parametrize(("preset", "least"), [("mlp-64x1", 0.8), ("cnn-8x2", 0.6), ("resnet-8x8", 0.6), ("vit-32x1p2", 0.6)])
def test_every_kind_of_network_learns_digits(preset: str, least: float) -> None:
    objective = Label(data="builtin:digits")  # pyright: ignore[reportArgumentType]
    model = fresh(objective, preset)
    read = Accuracy(data="builtin:digits")  # pyright: ignore[reportArgumentType]
    assert read(model).estimate().value < 0.35
    train(model, objective, Recipe(lr=3e-3, steps=80), quiet=True)
    assert read(model).estimate().value > least


def test_a_residual_network_learns_cifar(shared_data: Path, tmp_path: Path) -> None:
    """On 2,000 images; chance is a tenth."""
    with np.load(shared_data / "vision" / "cifar10_jpeg" / "test.npz") as whole:
        sizes = whole["sizes"][:2000]
        source = tmp_path / "part.npz"
        np.savez(source, jpeg=whole["jpeg"][: sizes.sum()], sizes=sizes, labels=whole["labels"][:2000], classes=whole["classes"])
    objective = Label(data={"source": str(source), "augment": {"crop": 4, "flip": True}})  # pyright: ignore[reportArgumentType]
    model = fresh(objective, "resnet-20x8")
    log = train(model, objective, Recipe(lr=3e-3, steps=30), quiet=True)
    assert np.mean(log.losses[-5:]) < np.log(10) - 0.15
    assert Accuracy(data=str(source))(model).estimate().value > 0.15  # pyright: ignore[reportArgumentType]


def test_a_ladder_of_classifiers_is_trained_opened_and_kept(tmp_path: Path) -> None:
    form = {"objective": {"label": {"data": "builtin:digits"}}, "tokens": [512, 1024], "lr": 3e-3}
    rungs = TrainedLadder.parse({"model": ["mlp-16x1", "resnet-8x4"]} | form).rungs(0, tmp_path)
    assert [rung.checkpoint.tokens for rung in rungs] == [512, 512, 1024, 1024]  # a label counts as a token
    assert [rung.steps for rung in rungs] == [16, 16, 32, 32]
    assert rungs[0].checkpoint.unique_tokens == 512
    hashes = []
    for rung in rungs:
        with rung.open() as model:
            assert (model.task.name, len(model.labels), model.images.channels) == ("image", 10, 1)
            assert model.checkpoint.params == rung.checkpoint.params
            hashes.append(model.weights())
    assert len(set(hashes)) == 4
    assert [load(rung.train()).weights() for rung in rungs] == hashes
    assert rungs[0].cost == 0


def test_a_ladder_learns_one_thing_and_its_old_form_keeps_its_key() -> None:
    with pytest.raises(PliantError, match="one of the two"):
        TrainedLadder.parse({"model": "mlp-16x1", "tokens": 100})
    both = {"corpus": "builtin:prose", "objective": {"label": {"data": "builtin:digits"}}}
    with pytest.raises(PliantError, match="one of the two"):
        TrainedLadder.parse({"model": "mlp-16x1", "tokens": 100} | both)
    told = TrainedLadder.parse({"model": "llama-16x1", "corpus": "builtin:prose", "tokens": [1000]})
    assert "objective" not in told.canonical()


def test_a_network_keeps_its_size_and_the_images_come_to_it() -> None:
    """Digits of 8 x 8 for a network that reads 16 x 16 in colour."""
    objective = Label(data="builtin:digits")  # pyright: ignore[reportArgumentType]
    model = build("cnn-8x2", images=Images(source="builtin:digits", size=16) and _form(), labels=objective.needs().labels)
    batch = objective.examples(model, None).batch(0, 4, 0)
    assert batch.inputs["pixel_values"].shape == (4, 3, 16, 16)
    assert torch.equal(batch.inputs["pixel_values"][:, 0], batch.inputs["pixel_values"][:, 2])
    with pytest.raises(PliantError, match="images of 8 x 8 pixels, and the model reads 16 x 16"):
        Label(data={"source": "builtin:digits", "size": 8}).examples(model, None)  # pyright: ignore[reportArgumentType]


def _form() -> Any:
    from pliant.models import ImageInput

    return ImageInput((16, 16), 3)
