"""Networks that read images: what their families share. Their size and channels are those of the images, their outputs the labels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pliant.errors import PliantError
from pliant.models.images import ImageInput
from pliant.models.presets.preset import Given, Preset

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Pictured(Preset):
    """`FAMILY-WIDTHxLAYERS`. A classifier of images."""

    task = "image"
    width: int
    layers: int

    @classmethod
    def of_shape(cls, shape: str) -> Self | None:
        """From `128x1`. Raises PliantError for a shape without width or layers."""
        match = re.fullmatch(r"(\d{1,6})x(\d{1,4})", shape)
        return None if match is None else cls(int(match[1]), int(match[2])).checked()

    def checked(self) -> Self:
        """Itself. Raises PliantError for a shape that no network has."""
        if self.width < 1 or self.layers < 1:
            raise PliantError(f"preset {self.name!r}: a network has at least one layer, and at least one unit in it")
        return self

    @property
    def name(self) -> str:
        """`mlp-128x1`."""
        return f"{self.family}-{self.width}x{self.layers}"

    @property
    def learning_rate(self) -> float:
        """Peak AdamW learning rate to start tuning from: half of what is best on digits in 100 steps of 32."""
        return 5e-3

    def pixels(self, given: Given) -> ImageInput:
        """The form of the images that are given."""
        if given.images is None:
            raise PliantError(f"{self.name} reads images; give their form, or train it on images: `objective: {{label: {{data: IMAGES}}}}`")
        return given.images

    def config_fields(self, given: Given) -> dict[str, Any]:
        """Fields of the transformers configuration, in the words that all families share. Raises PliantError for what is not given."""
        if given.labels is None or len(given.labels) < 2:
            raise PliantError(f"{self.name} tells classes apart; give at least two labels")
        pixels = self.pixels(given)
        names = dict(enumerate(given.labels))
        return {
            "image_size": pixels.size[0] if pixels.size[0] == pixels.size[1] else list(pixels.size),
            "num_channels": pixels.channels,
            "id2label": names,
            "label2id": {name: number for number, name in names.items()},
        }


@dataclass(frozen=True)
class Mlp(Pictured):
    """A multilayer perceptron on pixels: `mlp-128x1` has one hidden layer of 128."""

    family = "mlp"
    example: ClassVar[str] = "mlp-128x1"

    def network(self, given: Given) -> PreTrainedModel:
        """See `pliant.models.vision.mlp`."""
        from pliant.models.vision.mlp import PixelMlpConfig, PixelMlpForImageClassification

        return PixelMlpForImageClassification(PixelMlpConfig(**self.config_fields(given), width=self.width, depth=self.layers))


@dataclass(frozen=True)
class Cnn(Pictured):
    """Convolutions without norms: `cnn-16x2` has 16 channels, then 32, and halves the sides behind each."""

    family = "cnn"
    example: ClassVar[str] = "cnn-16x2"

    def network(self, given: Given) -> PreTrainedModel:
        """See `pliant.models.vision.cnn`. Raises PliantError for images that cannot be halved so often."""
        from pliant.models.vision.cnn import SmallCnnConfig, SmallCnnForImageClassification

        sides = self.pixels(given).size
        if min(sides) >> self.layers == 0:
            raise PliantError(f"{self.name} halves images {self.layers} times, which those of {sides[0]} x {sides[1]} pixels cannot be")
        return SmallCnnForImageClassification(SmallCnnConfig(**self.config_fields(given), width=self.width, depth=self.layers))
