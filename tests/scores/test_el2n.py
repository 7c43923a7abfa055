"""EL2N and GraNd: closed forms, and agreement with gradients taken one by one."""

from __future__ import annotations

from math import sqrt
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from pliant.data.images import Images
from pliant.errors import PliantError
from pliant.models import ImageInput, Model, build
from pliant.models.checkpoint import Checkpoint
from pliant.models.vision.mlp import PixelMlpConfig, PixelMlpForImageClassification
from pliant.objectives.labelled import LabelledImages
from pliant.scores import El2n, Grand, GrandLastLayer

FORM = ImageInput((8, 8), 1, (0.0,), (1.0,))
TEN = tuple(str(number) for number in range(10))


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))


def digits(count: int = 60) -> LabelledImages:
    pictures = Images(source="builtin:digits").pictures("train")
    return LabelledImages(pictures.where(np.arange(len(pictures)) < count), FORM, tuple(range(10)))


def linear() -> Model:
    """Ten linear functions of the pixels."""
    torch.manual_seed(0)
    config = PixelMlpConfig(image_size=8, num_channels=1, width=64, depth=0, id2label=dict(enumerate(TEN)))
    return Model(PixelMlpForImageClassification(config), None, Checkpoint(name="linear"), pixels=FORM)


def test_a_network_that_knows_nothing_is_as_far_from_every_label() -> None:
    model = linear()
    with torch.no_grad():
        model.network.classifier.weight.zero_()
    scores = El2n()([model], digits())
    assert np.allclose(scores.values, sqrt(1 - 1 / 10))


def test_sure_answers_are_0_or_the_square_root_of_2() -> None:
    model, examples = linear(), digits()
    with torch.no_grad():
        model.network.classifier.weight.zero_()
        model.network.classifier.bias.copy_(torch.tensor([1000.0] + [0] * 9))
    values = El2n()([model], examples).values
    right = examples.pictures.labels == 0
    assert 0 < right.sum() < len(right)
    assert (values[right] == 0).all()
    assert np.allclose(values[~right], sqrt(2))


@pytest.mark.parametrize("batch", [7, 256])
def test_values_belong_to_their_examples_and_are_means_over_models(batch: int) -> None:
    examples, models = digits(), [build("mlp-16x1", images=FORM, labels=TEN, seed=seed) for seed in range(3)]
    scores = El2n(batch=batch)(models, examples)
    expected = []
    for model in models:
        pixels = torch.tensor(examples.pictures.pixels(np.arange(60)) / 255, dtype=torch.float32).permute(0, 3, 1, 2)
        chances = model.network.eval()(pixel_values=pixels).logits.double().softmax(-1).detach().numpy()
        expected.append(np.linalg.norm(chances - np.eye(10)[examples.pictures.labels], axis=1))
    assert scores.values == pytest.approx(np.mean(expected, 0), abs=1e-6)
    assert list(scores.ids) == examples.pictures.ids
    assert scores.models == tuple(model.weights() for model in models)
    assert (scores.score, scores.better, scores.data) == ({"kind": "el2n"}, "lower", examples.fingerprint)


def test_the_gradient_of_a_linear_network_has_a_closed_form() -> None:
    """|| error || sqrt(|| x ||^2 + 1)."""
    examples, model = digits(), linear()
    length = np.linalg.norm(examples.pictures.pixels(np.arange(60)).reshape(60, -1) / 255, axis=1)
    expected = El2n()([model], examples).values * np.sqrt(length**2 + 1)
    assert Grand()([model], examples).values == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("preset", ["resnet-8x4", "mlp-16x1"])
def test_the_last_layer_alone_has_a_closed_form(preset: str) -> None:
    """|| error || sqrt(|| what goes into it ||^2 + 1)."""
    examples, model = digits(), build(preset, images=FORM, labels=TEN)
    kept: list[torch.Tensor] = []
    last = [layer for layer in model.network.modules() if isinstance(layer, torch.nn.Linear)][-1]
    hook = last.register_forward_pre_hook(lambda module, inputs: kept.append(inputs[0].detach()))
    errors = El2n()([model], examples).values
    hook.remove()
    expected = errors * np.sqrt(np.square(torch.cat(kept).double().numpy()).sum(1) + 1)
    found = GrandLastLayer()([model], examples)
    assert found.values == pytest.approx(expected, rel=1e-5)
    assert found.score == {"kind": "grand_last_layer"}


@pytest.mark.parametrize("preset", ["resnet-8x4", "cnn-4x2", "vit-32x1"])
def test_gradients_are_those_of_one_example_after_the_other(preset: str) -> None:
    examples, model = digits(9), build(preset, images=FORM, labels=TEN)
    found = Grand(batch=4)([model], examples).values
    network = model.network.eval()
    for number in range(9):
        batch = examples.at(np.array([number]))
        network.zero_grad()
        cross_entropy(network(**batch.inputs).logits, batch.targets).backward()
        own = sqrt(sum(float(p.grad.double().square().sum()) for p in network.parameters() if p.grad is not None))
        assert found[number] == pytest.approx(own, rel=1e-4)


def test_models_are_left_as_they_were() -> None:
    model = build("resnet-8x4", images=FORM, labels=TEN)
    model.network.train()
    before = model.weights()
    Grand()([model], digits(5))
    El2n()([model], digits(5))
    assert model.weights() == before
    assert model.network.training
    assert all(parameter.grad is None for parameter in model.network.parameters())


def test_what_cannot_be_scored_is_one_line() -> None:
    model = linear()
    with pytest.raises(PliantError, match="needs a model"):
        El2n()([], digits())
    with pytest.raises(PliantError, match="is an address"):
        El2n()(["somewhere"], digits())  # type: ignore[list-item]
    with pytest.raises(PliantError, match="examples with labels"):
        El2n()([model], "text")  # type: ignore[arg-type]
    with pytest.raises(PliantError, match="has other labels"):
        El2n()([model, build("mlp-8x1", images=FORM, labels=TEN[::-1])], digits())
    with torch.no_grad():
        model.network.classifier.bias.fill_(torch.nan)
    with pytest.raises(PliantError, match="not a finite number"):
        El2n()([model], digits())


def test_gradients_of_texts_are_those_of_one_example_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts of several lengths, in batches that pad them."""
    from pliant.objectives import Label
    from pliant.train.new_model import NewModel

    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "texts.jsonl").write_text("\n".join(f'{{"text": "{"ab" * n}", "label": "{n % 2}"}}' for n in range(1, 7)))
    objective = Label(data=str(tmp_path / "texts.jsonl"), part="all")  # pyright: ignore[reportArgumentType]
    model = NewModel(preset="llama-16x1", tokenizer="ascii").build(0, objective.needs())
    examples = objective.examples(model, None)
    found = Grand(batch=4)([model], examples)
    for number, value in enumerate(found.values):
        batch = examples.at(np.array([number]))
        model.network.zero_grad()
        cross_entropy(model.network(**batch.inputs).logits, batch.targets).backward()
        squares = sum(float(p.grad.double().square().sum()) for p in model.network.parameters() if p.grad is not None)
        assert value == pytest.approx(sqrt(squares), rel=1e-5)
