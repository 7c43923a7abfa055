"""Dual encoders as classifiers: transformers' own logits for one template, their mean direction for several."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from pliant.errors import PliantError
from pliant.measures import Accuracy
from pliant.models import ImageInput, build
from pliant.models.zero_shot import class_embeddings, zero_shot_logits
from tiny_clip import clip

CLASSES = ["cat", "dog", "red_fox"]
PIXELS = torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def test_one_template_gives_transformers_own_logits(tmp_path: Path) -> None:
    model = clip(tmp_path)
    assert (model.task.name, model.images.size, model.labels) == ("dual", (16, 16), ())
    words = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    read = words([f"a photo of a {name}." for name in ("cat", "dog", "red fox")], padding=True, return_tensors="pt")
    network = model.network.eval()
    with torch.no_grad():
        own = network(input_ids=read["input_ids"], attention_mask=read["attention_mask"], pixel_values=PIXELS).logits_per_image
        ours = zero_shot_logits(model, PIXELS, class_embeddings(model, CLASSES))
    assert torch.allclose(ours, own, atol=1e-4)
    assert own.std() > 0.01


def test_several_templates_are_averaged_after_they_are_normalised(tmp_path: Path) -> None:
    model = clip(tmp_path)
    templates = ["a photo of a {}.", "the {}"]
    single = [class_embeddings(model, CLASSES, [template]) for template in templates]
    both = class_embeddings(model, CLASSES, templates)
    mean = (single[0] + single[1]) / 2
    assert torch.allclose(both, mean / mean.norm(dim=-1, keepdim=True), atol=1e-6)
    assert not torch.allclose(single[0], single[1], atol=1e-2)


def test_what_cannot_be_asked_is_one_line(tmp_path: Path) -> None:
    model = clip(tmp_path)
    for template in ("a photo", "{} and {}"):
        with pytest.raises(PliantError, match=r"needs one \{\}"):
            class_embeddings(model, CLASSES, [template])
    with pytest.raises(PliantError, match=r"needs one \{\}"):
        class_embeddings(model, CLASSES, [])
    with pytest.raises(PliantError, match="is 14 tokens, more than the 12 that are read"):
        class_embeddings(model, ["cat"], ["a " * 11 + "{}"])
    classifier = build("mlp-8x1", images=ImageInput((8, 8), 1), labels=CLASSES)
    with pytest.raises(PliantError, match="prompts need a dual encoder"):
        class_embeddings(classifier, CLASSES)


def test_accuracy_asks_a_dual_encoder_with_prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))
    model = clip(tmp_path / "clip")
    pixels = np.random.default_rng(0).integers(0, 256, (30, 16, 16, 3), np.uint8)
    np.savez(tmp_path / "a.npz", x=pixels, y=np.arange(30) % 3, classes=CLASSES)
    read = Accuracy(data=str(tmp_path / "a.npz"), part="all", templates=["the {}"])  # pyright: ignore[reportArgumentType]
    readings = {reading.metric: reading for reading in read.readings(model)}
    inputs = (torch.tensor(pixels).permute(0, 3, 1, 2) / 255 - 0.4) / 0.3
    with torch.no_grad():
        logits = zero_shot_logits(model, inputs, class_embeddings(model, CLASSES, ["the {}"])).double()
    labels = torch.arange(30) % 3
    assert readings["accuracy"].values.tolist() == (logits.argmax(-1) == labels).double().tolist()
    assert readings["nll"].values == pytest.approx(-logits.log_softmax(-1)[range(30), labels].numpy(), abs=1e-4)
    assert set(readings) >= {"accuracy of cat", "accuracy of red_fox"}
    words = tmp_path / "texts.jsonl"
    words.write_text("\n".join(f'{{"text": "a cat {n}", "label": {n % 2}}}' for n in range(20)))
    with pytest.raises(PliantError, match="accuracy is read off a classifier"):
        Accuracy(data=str(words), part="all").readings(model)  # pyright: ignore[reportArgumentType]
