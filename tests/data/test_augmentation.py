"""Crops and flips: exact against a plain one-by-one version, and a function of (seed, step, example) alone."""

from __future__ import annotations

import numpy as np
import pytest

from pliant.data.augmentation import Augmentation, drawn
from pliant.errors import PliantError

PIXELS = np.random.default_rng(0).integers(0, 256, (64, 9, 7, 3), np.uint8)
IDS = np.random.default_rng(1).integers(0, 2**63, 64).astype(np.uint64) * np.uint64(2)


@pytest.mark.parametrize("reflect", [False, True])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("crop", [0, 3])
def test_each_image_is_padded_cut_and_mirrored(crop: int, flip: bool, reflect: bool) -> None:
    found = Augmentation(crop=crop, flip=flip, reflect=reflect)(PIXELS, IDS, step=5, seed=3)
    top, left, mirrored = drawn(IDS, 5, 3, 2 * crop + 1)
    for row, image in enumerate(PIXELS):
        edge = ((crop, crop), (crop, crop), (0, 0))
        wide = np.pad(image, edge, mode="reflect") if reflect else np.pad(image, edge)
        cut = wide[top[row] : top[row] + 9, left[row] : left[row] + 7]
        assert np.array_equal(found[row], cut[:, ::-1] if flip and mirrored[row] else cut)


def test_what_is_drawn_depends_on_seed_step_and_example_alone() -> None:
    change = Augmentation(crop=2, flip=True)
    whole = change(PIXELS, IDS, 7, 1)
    some = np.array([40, 3, 3, 17])
    assert np.array_equal(change(PIXELS[some], IDS[some], 7, 1), whole[some])
    assert not np.array_equal(change(PIXELS, IDS, 8, 1), whole)
    assert not np.array_equal(change(PIXELS, IDS, 7, 2), whole)


def test_every_place_is_as_likely() -> None:
    ids = np.arange(9000, dtype=np.uint64)
    top, left, mirrored = drawn(ids, 0, 0, 3)
    counts = np.zeros((3, 3), int)
    np.add.at(counts, (top, left), 1)
    assert abs(counts - 1000).max() < 5 * np.sqrt(1000)
    assert abs(mirrored.mean() - 0.5) < 5 * 0.5 / np.sqrt(9000)


def test_a_mirror_wider_than_the_image_is_refused() -> None:
    with pytest.raises(PliantError, match="mirrored padding of 7 pixels is wider"):
        Augmentation(crop=7, reflect=True)(PIXELS, IDS, 0, 0)
