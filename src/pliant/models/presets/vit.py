"""Vision transformers: transformers' own, at small sizes. `vit-64x4` has width 64 and 4 layers, `vit-64x4p2` patches of 2 x 2 pixels.

Heads and MLP as in the networks that read text; without a patch size, the image's longer side is 8 patches long, or as near to that as
divides it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, ClassVar, Self

from pliant.errors import PliantError
from pliant.models.presets.pictured import Pictured
from pliant.models.presets.preset import Given

if TYPE_CHECKING:
    from transformers import PreTrainedModel

GRID = 8
"""Patches along a side where none is asked for."""


@dataclass(frozen=True)
class Vit(Pictured):
    """A vision transformer."""

    family = "vit"
    example: ClassVar[str] = "vit-64x4"
    patch: int | None = None

    @classmethod
    def of_shape(cls, shape: str) -> Self | None:
        """From `64x4` or `64x4p2`. Raises PliantError for a width that does not divide into heads."""
        match = re.fullmatch(r"(\d{1,6})x(\d{1,4})(?:p(\d{1,4}))?", shape)
        return None if match is None else cls(int(match[1]), int(match[2]), int(match[3]) if match[3] else None).checked()

    def checked(self) -> Self:
        """Itself."""
        if self.layers < 1 or self.width < 1 or self.width % self.head_width or self.patch == 0:
            raise PliantError(f"preset {self.name!r}: the width must be a multiple of {self.head_width}, with at least one layer")
        return self

    @property
    def name(self) -> str:
        """`vit-64x4`."""
        return super().name + ("" if self.patch is None else f"p{self.patch}")

    @property
    def learning_rate(self) -> float:
        """Peak AdamW learning rate to start tuning from."""
        return float(f"{3e-3 * (32 / self.width) ** 0.73:.1g}")

    @property
    def head_width(self) -> int:
        """Width of one attention head."""
        return 16 if self.width < 128 else 32 if self.width < 256 else 64

    def patch_of(self, sides: tuple[int, int]) -> int:
        """Pixels along a patch. Raises PliantError where patches of that size do not tile the image."""
        most = max(sides) / GRID
        sizes = [size for size in range(1, min(sides) + 1) if sides[0] % size == sides[1] % size == 0]
        size = self.patch or min(sizes, key=lambda size: (abs(size - most), size))
        if size not in sizes:
            raise PliantError(
                f"{self.name}: patches of {size} pixels do not tile images of {sides[0]} x {sides[1]}; {', '.join(map(str, sizes))} do"
            )
        return size

    def network(self, given: Given) -> PreTrainedModel:
        """Plain transformers."""
        from transformers import ViTConfig, ViTForImageClassification

        config = ViTConfig(
            **self.config_fields(given),
            patch_size=self.patch_of(self.pixels(given).size),
            hidden_size=self.width,
            num_hidden_layers=self.layers,
            num_attention_heads=self.width // self.head_width,
            intermediate_size=4 * self.width,
            initializer_range=0.4 / sqrt(self.width),
        )
        return ViTForImageClassification(config)
