"""Examples with labels: what accuracy, scores and selection read off them, whether they are texts or images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pliant.data.decoded_image import as_channels
from pliant.data.order import order
from pliant.objectives.objective import Batch

if TYPE_CHECKING:
    from torch import Tensor

    from pliant.data.augmentation import Augmentation
    from pliant.data.left_out import LeftOut
    from pliant.data.pictures import Pictures
    from pliant.models.images import ImageInput


@runtime_checkable
class LabelledExamples(Protocol):
    """Examples each of which has one label, an output of the head: `batch.targets` (rows,) are their numbers."""

    @property
    def fingerprint(self) -> str:
        """Names the content."""
        ...

    @property
    def ids(self) -> Sequence[str]:
        """(examples,) what names each for good."""
        ...

    def at(self, numbers: NDArray[np.int64]) -> Batch:
        """Some of the examples as they are: in the order asked for, not augmented."""
        ...


@dataclass(frozen=True)
class LabelledImages:
    """Images as one network reads them; every one once an epoch."""

    pictures: Pictures
    form: ImageInput
    outputs: tuple[int, ...]
    """Which output of the head each class of the data has."""
    augment: Augmentation | None = None

    @property
    def fingerprint(self) -> str:
        """Of the images and their labels."""
        return self.pictures.fingerprint

    @property
    def ids(self) -> Sequence[str]:
        """(examples,) what names each for good."""
        return self.pictures.ids

    @property
    def left_out(self) -> LeftOut:
        """What of the source is none of them."""
        return self.pictures.left_out

    @property
    def counts(self) -> dict[str, int]:
        """What became of the source's images, and how many of them these are."""
        return {**self.pictures.counts, "examples": len(self.pictures)}

    @property
    def unique(self) -> int:
        """Images."""
        return len(self.pictures)

    @property
    def row_tokens(self) -> float:
        """One label a row."""
        return 1.0

    @property
    def chance(self) -> float:
        """Of a uniform guess over the classes."""
        return log(len(self.pictures.classes))

    @cached_property
    def _targets(self) -> NDArray[np.int64]:
        return np.array(self.outputs, np.int64)[self.pictures.labels]

    def batch(self, step: int, rows: int, seed: int) -> Batch:
        """The next rows of the epoch, cropped and flipped where that is asked for."""
        numbers = order(len(self.pictures), step, rows, seed)
        pixels = self.pictures.pixels(numbers)
        if self.augment is not None:
            pixels = self.augment(pixels, self.pictures.hashes[numbers], step, seed)
        return self._made(numbers, pixels)

    def at(self, numbers: NDArray[np.int64]) -> Batch:
        """Some of the images as they are."""
        return self._made(numbers, self.pictures.pixels(numbers))

    def _made(self, numbers: NDArray[np.int64], pixels: NDArray[np.uint8]) -> Batch:
        import torch

        targets = torch.from_numpy(self._targets[numbers])
        return Batch(numbers, {"pixel_values": network_input(pixels, self.form)}, targets, torch.ones(len(numbers)))


def network_input(pixels: NDArray[np.uint8], form: ImageInput) -> Tensor:
    """(rows, channels, height, width) in float32, of (rows, height, width, channels): from 0 to 1, minus the mean, over the deviation."""
    import torch

    held = torch.from_numpy(np.ascontiguousarray(as_channels(pixels, form.channels))).permute(0, 3, 1, 2)
    mean, std = (torch.tensor(numbers, dtype=torch.float32).view(1, -1, 1, 1) for numbers in (form.mean, form.std))
    return (held.to(torch.float32) / 255 - mean) / std  # in memory channels stay last, which convolutions are faster on
