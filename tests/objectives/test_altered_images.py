"""Rotation and jigsaw: pixels only change places, every image comes in every way once, and both can be learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pliant.errors import PliantError
from pliant.models import Model, build
from pliant.objectives import OBJECTIVES, Jigsaw, Label, Rotation
from pliant.objectives.jigsaw import orders
from pliant.train import Recipe, train


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path_factory.getbasetemp() / "image-cache"))


def fresh(objective: Any) -> Model:
    needs = objective.needs()
    return build("cnn-8x2", images=needs.images, labels=needs.labels)


@pytest.mark.parametrize("form", [{"rotation": {}}, {"jigsaw": {"grid": 2, "permutations": 6}}])
def test_every_image_comes_in_every_way_once_and_keeps_its_pixels(form: Any) -> None:
    ((name, fields),) = form.items()
    objective = OBJECTIVES.parse({name: {"data": "builtin:digits", "part": "heldout", **fields}})
    examples = objective.examples(fresh(objective), None)
    ways = len(objective.ways())
    assert len(examples.ids) == len(set(examples.ids)) == examples.unique == ways * len(examples.pictures)
    epoch = np.concatenate([examples.batch(step, ways, 0).numbers for step in range(len(examples.pictures))])
    assert sorted(epoch) == list(range(examples.unique))
    one = examples.at(np.arange(ways))
    assert one.targets.tolist() == list(range(ways))
    sorted_pixels = one.inputs["pixel_values"].flatten(1).sort(1).values
    assert torch.equal(sorted_pixels, sorted_pixels[:1].expand(ways, -1))
    upright = Label(data="builtin:digits", part="heldout")  # pyright: ignore[reportArgumentType]
    assert torch.equal(one.inputs["pixel_values"][0], upright.examples(fresh(upright), None).at(np.arange(1)).inputs["pixel_values"][0])


def test_four_quarter_turns_are_none() -> None:
    objective = Rotation(data="builtin:digits")  # pyright: ignore[reportArgumentType]
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3, 1)
    turned = pixels
    for _ in range(4):
        turned = objective.made(turned, 1)
    assert np.array_equal(turned, pixels)
    assert np.array_equal(objective.made(objective.made(pixels, 1), 3), pixels)
    assert objective.made(pixels, 1)[0, :, :, 0].tolist() == [[2, 5, 8], [1, 4, 7], [0, 3, 6]]


def test_orders_differ_and_lie_far_apart() -> None:
    found = orders(9, 31)
    assert found[0].tolist() == list(range(9))
    assert len({tuple(row) for row in found.tolist()}) == 31
    apart = [(one != other).sum() for number, one in enumerate(found) for other in found[:number]]
    assert min(apart) >= 6  # of 9 places
    assert len({tuple(row) for row in orders(4, 24).tolist()}) == 24  # all that there are


def test_both_are_learned_and_a_classifier_takes_the_trunk_over() -> None:
    objective = Rotation(data="builtin:digits")  # pyright: ignore[reportArgumentType]
    model = fresh(objective)
    log = train(model, objective, Recipe(lr=5e-3, steps=60, batch=64), quiet=True)
    assert log.losses[-1] < 0.6 * log.losses[0]
    trunk = model.network.trunk.convolutions[0].weight.detach().clone()
    label = Label(data="builtin:digits", fresh_head=True)  # pyright: ignore[reportArgumentType]
    train(model, label, Recipe(lr=1e-9, steps=1, batch=8, weight_decay=0), quiet=True)
    assert torch.allclose(model.network.trunk.convolutions[0].weight, trunk, atol=1e-6)
    assert model.labels == tuple("0123456789")
    train(model, Jigsaw(data="builtin:digits", grid=2, permutations=4), Recipe(lr=1e-3, steps=1, batch=8), quiet=True)  # pyright: ignore[reportArgumentType]
    assert model.labels == ("order 0", "order 1", "order 2", "order 3")


def test_images_that_cannot_be_altered_so_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "wide.npz"
    np.savez(path, x=np.random.default_rng(0).integers(0, 256, (20, 4, 6), np.uint8), y=np.arange(20) % 2)
    with pytest.raises(PliantError, match="4 x 6 pixels cannot be turned by a quarter"):
        Rotation.parse({"data": str(path)}).needs()
    with pytest.raises(PliantError, match="cannot be cut into 5 x 5 patches"):
        Jigsaw.parse({"data": str(path), "grid": 5}).needs()
    with pytest.raises(PliantError, match="4 patches have 24 orders, fewer than 31"):
        Jigsaw.parse({"data": str(path), "grid": 2}).needs()
