"""Text targets: the cosine transform is one, budgets hold, encoders are taken in, and one that was not attacked tells the transfer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from attacked_digits import Digits
from pliant.attacks import TextTarget
from pliant.attacks.ball import generator_of
from pliant.attacks.text_target import cosines, spectral
from pliant.errors import PliantError
from pliant.measures.robustness import Robustness
from pliant.models import Model
from pliant.models.zero_shot import class_embeddings, image_embeddings
from pliant.objectives import Batch, Label
from pliant.objectives.labelled import network_input
from tiny_clip import clip


def test_the_cosine_transform_and_its_inverse() -> None:
    from scipy.fft import dctn

    picture = torch.rand(2, 3, 12, 9, dtype=torch.float64)
    down, across = cosines(12, picture), cosines(9, picture)
    strengths = down @ picture @ across.T
    assert strengths.numpy() == pytest.approx(dctn(picture.numpy(), axes=(2, 3), norm="ortho"), abs=1e-9)
    assert (down.T @ strengths @ across).numpy() == pytest.approx(picture.numpy(), abs=1e-9)
    drawn = torch.stack([spectral(picture, 0.0, generator_of(f"{number}")) for number in range(400)])
    assert drawn.mean(0).numpy() == pytest.approx(picture.numpy(), abs=0.15)  # masks are 1 on average
    assert float(drawn.std(0).mean()) > 0.05


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, Model]]:
    folders = [tmp_path_factory.mktemp("clips") / str(seed) for seed in range(2)]
    return [(folder, clip(folder, seed)) for seed, folder in enumerate(folders)]


def nearer(model: Model, **fields: Any) -> tuple[float, Any]:
    """By how much more the images are taken for a dog than for a cat, on average, and their levels (rows, ...) from 0 to 255."""
    form = model.images
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 16, 3), np.uint8)
    batch = Batch(np.arange(16), {"pixel_values": network_input(pixels, form)}, torch.zeros(16, dtype=torch.long), torch.ones(16))
    attack = TextTarget.parse({"target": "dog", "negative": "cat", "steps": 8, "draws": 2, **fields})
    moved = attack.perturb(model, batch, Label.parse({"data": "builtin:digits"})).inputs["pixel_values"]
    levels = (moved * form.std[0] + form.mean[0]) * 255
    assert float((levels.round() - torch.from_numpy(pixels).permute(0, 3, 1, 2)).abs().max()) <= attack.epsilon * 255 + 1e-6
    assert levels.numpy() == pytest.approx(levels.round().numpy(), abs=1e-3)
    dog, cat = class_embeddings(model, ["dog", "cat"])
    with torch.no_grad():
        return float((image_embeddings(model, moved) @ (dog - cat)).mean()), levels.round()


def test_images_come_nearer_the_larger_the_budget(encoders: Any) -> None:
    model = encoders[0][1]
    for spectrum in (False, True):
        found = [nearer(model, epsilon=epsilon, spectrum=spectrum)[0] for epsilon in (0, 16 / 255, 64 / 255)]
        assert found == sorted(found)
        assert found[2] > found[0] + 0.02


def test_surrogates_from_files_tell_the_transfer(encoders: Any) -> None:
    (own, model), (other, _) = encoders
    plain, levels = nearer(model, epsilon=64 / 255)
    white, same = nearer(model, epsilon=64 / 255, surrogates=[str(own)])
    assert torch.equal(levels, same)
    black, _ = nearer(model, epsilon=64 / 255, surrogates=[str(other)])
    both, _ = nearer(model, epsilon=64 / 255, surrogates=[str(own), str(other)])
    assert black < both < white == plain  # two random networks have nothing in common


def test_the_measure_reads_a_dual_encoder_under_it(encoders: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), np.uint8)
    np.savez(tmp_path / "a.npz", x=pixels, y=np.arange(12) % 3, classes=["cat", "dog", "fox"])
    for attack in ({"text_target": {"target": "dog", "steps": 2, "draws": 1}}, {"pgd": {"epsilon": 0.1, "steps": 2}}):
        measure = Robustness.parse({"data": str(tmp_path / "a.npz"), "part": "all", "attack": attack, "checked": 4})
        found = {reading.metric: reading for reading in measure.readings(encoders[0][1])}
        assert ("target_reached" in found) == ("text_target" in attack)
        assert (found["robust_accuracy"].values <= found["clean_accuracy"].values).all()


def test_what_reads_no_text_is_one_line(digits: Digits) -> None:
    with pytest.raises(PliantError, match="prompts need a dual encoder"):
        TextTarget(target="a dog").perturb(digits.model, digits.batch, digits.objective)
