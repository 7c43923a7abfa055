"""What self-supervised objectives of images share: every image in each of several ways, and the way is what is to be told.

An objective says what the ways are called and makes an image of one; here they become examples with labels. An example's number is
(image x ways + way), so that an epoch shows every image in every way once, and held-out ones can be measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pliant.data import Part
from pliant.data.images import Images
from pliant.data.order import order
from pliant.errors import PliantError
from pliant.models.heads import outputs
from pliant.models.images import ImageInput
from pliant.models.tasks import Needs
from pliant.objectives.labelled import network_input
from pliant.objectives.objective import Batch, Losses, Objective

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pliant.data import Tokenizer
    from pliant.data.pictures import Pictures
    from pliant.models import Model


class Altered(Objective):
    """Base of objectives that tell how an image was altered. Abstract: a subclass writes `ways` and `made`."""

    unit = "nats"
    task = "image"
    row_tokens = 1
    data: Images = Field(description="The images, their labels left aside: a folder of class folders, an archive, or its source")
    part: Part = Field(default="train", description="Which part of it: train, heldout or all")

    def ways(self) -> Sequence[str]:
        """What the ways are called. Raises PliantError for images that cannot be altered so."""
        raise NotImplementedError

    def made(self, pixels: NDArray[np.uint8], way: int) -> NDArray[np.uint8]:
        """Images (rows, height, width, channels) in one way."""
        raise NotImplementedError

    def needs(self) -> Needs:
        """A classifier with an output for each way; a head that tells other things is replaced."""
        height, width, channels = self.data.whole().shape
        return Needs("image", tuple(self.ways()), images=ImageInput((height, width), channels), fresh=True)

    def tokens_read(self, length: int | None, context: float) -> float:
        """An image is read whole."""
        return context

    def pictures(self) -> int:
        """Of its part."""
        return len(self.data.pictures(self.part))

    def data_for(self, tokenizer: Tokenizer) -> Any:
        """The images."""
        return self.data.pictures(self.part)

    def examples(self, model: Model, length: int | None) -> AlteredImages:
        """Raises PliantError for images of another size than the model reads, and a head that tells other things."""
        pictures = self.data.pictures(self.part, model.images.size)
        if pictures.shape[:2] != model.images.size:
            told = " x ".join(map(str, pictures.shape[:2])), " x ".join(map(str, model.images.size))
            raise PliantError(f"{self.data.source}: images of {told[0]} pixels, and the model reads {told[1]}; give `size`")
        names = tuple(self.ways())
        return AlteredImages(self, pictures, model.images, names, tuple(outputs(model, names)))

    def losses(self, network: nn.Module, batch: Batch) -> Losses:
        """Cross-entropy over the ways, (rows,)."""
        from torch.nn.functional import cross_entropy

        output = network(**batch.inputs)
        return Losses(cross_entropy(output.logits.float(), batch.targets, reduction="none"), batch.weights, output)

    def distributions(self, losses: Losses, batch: Batch) -> tuple[Tensor, Tensor]:
        """One a row."""
        import torch

        return losses.output.logits.float(), torch.arange(len(batch), device=losses.output.logits.device)


@dataclass(frozen=True)
class AlteredImages:
    """Every image in every way; once an epoch."""

    objective: Altered
    pictures: Pictures
    form: ImageInput
    names: tuple[str, ...]
    outputs: tuple[int, ...]

    @property
    def fingerprint(self) -> str:
        """Of the images."""
        return self.pictures.fingerprint

    @property
    def ids(self) -> list[str]:
        """(images x ways,) what names each for good."""
        return [f"{name}:{way}" for name in self.pictures.ids for way in range(len(self.names))]

    @property
    def unique(self) -> int:
        """Images times ways."""
        return len(self.pictures) * len(self.names)

    @property
    def row_tokens(self) -> float:
        """One answer a row."""
        return 1.0

    @property
    def chance(self) -> float:
        """Of a uniform guess over the ways."""
        return log(len(self.names))

    def batch(self, step: int, rows: int, seed: int) -> Batch:
        """The next rows of the epoch."""
        return self.at(order(self.unique, step, rows, seed))

    def at(self, numbers: NDArray[np.int64]) -> Batch:
        """Some of the examples."""
        import torch

        images, ways = np.divmod(numbers, len(self.names))
        pixels = self.pictures.pixels(images)
        for way in np.unique(ways):
            pixels[ways == way] = self.objective.made(pixels[ways == way], int(way))
        targets = torch.from_numpy(np.array(self.outputs, np.int64)[ways])
        return Batch(numbers, {"pixel_values": network_input(pixels, self.form)}, targets, torch.ones(len(numbers)))
