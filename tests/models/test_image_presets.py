"""Presets of networks that read images: their words, their sizes, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageClassification

from pliant.errors import PliantError
from pliant.models import ImageInput, build, load, save
from pliant.models.presets import Given, Preset
from pliant.models.save import before_loading
from pliant.models.vision import LOADING

TEN = tuple("abcdefghij")
NAMES = ["resnet-8", "resnet-20", "resnet-8x4", "cnn-8x2", "mlp-16x1", "mlp-16x3", "vit-32x2", "vit-32x2p4"]


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_is_built_saved_and_loaded_by_its_word(name: str, tmp_path: Path) -> None:
    form = ImageInput((16, 8), 3, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    model = build(name, images=form, labels=TEN, seed=3)
    assert Preset.parse(name).name == name
    assert (model.task.name, model.labels, model.images) == ("image", TEN, form)
    counts = sum(parameter.numel() for parameter in model.network.parameters())
    assert model.checkpoint.params == counts == Preset.parse(name).counts(Given(images=form, labels=TEN))[0]
    assert build(name, images=form, labels=TEN, seed=3).weights() == model.weights() != build(name, images=form, labels=TEN).weights()
    save(model, tmp_path / "m")
    again = load(tmp_path / "m")
    assert (again.weights(), again.labels, again.images) == (model.weights(), TEN, form)
    x = torch.randn(2, 3, 16, 8)
    model.network.eval()
    assert torch.equal(again.network(pixel_values=x).logits, model.network(pixel_values=x).logits)
    with pytest.raises(PliantError, match="reads images, not text"):
        _ = model.tokenizer


def test_patches_follow_the_image() -> None:
    for side, expected in ((8, 1), (32, 4), (28, 4), (224, 28)):
        assert Preset.parse("vit-32x2").patch_of((side, side)) == expected  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet-21", "6n \\+ 2"),
        ("resnet-2", "6n \\+ 2"),
        ("resnet-", "unknown preset"),
        ("mlp-0x1", "at least one layer"),
        ("cnn-8x0", "at least one layer"),
        ("vit-30x2", "multiple of 16"),
        ("vit-32x2p0", "multiple of 16"),
    ],
)
def test_words_that_name_no_network(name: str, said: str) -> None:
    with pytest.raises(PliantError, match=said):
        Preset.parse(name)


def test_what_is_not_given_is_asked_for() -> None:
    form = ImageInput((8, 8), 1)
    with pytest.raises(PliantError, match="reads images; give their form"):
        build("resnet-20", labels=TEN)
    with pytest.raises(PliantError, match="at least two labels"):
        build("resnet-20", images=form)
    with pytest.raises(PliantError, match="at least two labels"):
        build("resnet-20", images=form, labels=["a"])
    with pytest.raises(PliantError, match="halves images 4 times"):
        build("cnn-8x4", images=form, labels=TEN)
    with pytest.raises(PliantError, match="patches of 3 pixels do not tile images of 8 x 8; 1, 2, 4, 8 do"):
        build("vit-32x2p3", images=form, labels=TEN)


@pytest.mark.parametrize(("preset", "own"), [("resnet-20x4", True), ("cnn-4x1", True), ("mlp-16x1", True), ("vit-16x1", False)])
def test_what_transformers_alone_needs_is_told(preset, own, tmp_path):
    model = build(preset, images=ImageInput((8, 8), 1), labels=TEN)
    assert before_loading(model) == (LOADING if own else "")
    save(model, tmp_path / "model")
    exec(before_loading(model))
    network = AutoModelForImageClassification.from_pretrained(tmp_path / "model").eval()
    pixels = torch.randn(2, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(network(pixel_values=pixels).logits, model.network.eval()(pixel_values=pixels).logits)
