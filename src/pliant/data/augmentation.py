"""Standard augmentation of images: a random crop out of a padded image, and a random flip.

Idea: every time an example is seen it is shifted and mirrored anew. What is drawn depends on (seed, step, example) alone, so a killed run
goes on as if nothing had happened, and neither the size of a batch nor the place in it matters.
When to use it: training image classifiers on photographs; `crop: 4, flip: true` is what CIFAR networks are trained with.
Cost: one copy of the batch.
What goes wrong: mirrored digits and letters are other signs, so leave `flip` off for them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pliant.errors import PliantError
from pliant.spec import Spec

_STREAM = 2  # of Philox's counter, so that no draw here is one of the order of examples


class Augmentation(Spec):
    """Random crops and flips, drawn anew each time an example is seen."""

    crop: int = Field(default=0, ge=0, le=1024, description="Pixels of padding around an image, out of which one of its own size is cut")
    flip: bool = Field(default=False, description="Mirror every other image, left to right")
    reflect: bool = Field(default=False, description="Pad with the image mirrored at its edge, not with black")

    def __call__(self, pixels: NDArray[np.uint8], ids: NDArray[np.uint64], step: int, seed: int) -> NDArray[np.uint8]:
        """Images (rows, height, width, channels), each under its id, as they look at one step of one run.

        Raises PliantError for a mirrored padding as wide as the image.
        """
        rows, height, width, _ = pixels.shape
        if not self.crop and not self.flip:
            return pixels
        if self.reflect and self.crop >= min(height, width):
            raise PliantError(f"a mirrored padding of {self.crop} pixels is wider than images of {height} x {width}; lower `crop`")
        edge = ((0, 0), (self.crop, self.crop), (self.crop, self.crop), (0, 0))
        padded = np.pad(pixels, edge, mode="reflect" if self.reflect else "constant")
        top, left, mirrored = drawn(ids, step, seed, 2 * self.crop + 1)
        row = np.arange(rows)[:, None, None]
        column = np.arange(width)[None, :]
        if self.flip:
            column = np.where(mirrored[:, None], column[:, ::-1], column)
        return padded[row, (top[:, None] + np.arange(height))[:, :, None], (left[:, None] + column)[:, None, :]]


def drawn(ids: NDArray[np.uint64], step: int, seed: int, places: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """For each example two places below `places` and whether it is mirrored: a pure function of (seed, step, id)."""
    raw = np.array([np.random.Philox(key=np.array([seed, name], np.uint64), counter=[0, 0, step, _STREAM]).random_raw(3) for name in ids])
    raw = raw.reshape(len(ids), 3)
    top, left = ((raw[:, place] % np.uint64(places)).astype(np.int64) for place in (0, 1))
    return top, left, raw[:, 2] >> np.uint64(63) == 1
