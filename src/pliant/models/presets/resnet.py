"""ResNets of CIFAR: `resnet-20` has 20 layers and 16 channels in its first stage, `resnet-20x32` has 32; see `models/vision/resnet.py`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from pliant.errors import PliantError
from pliant.models.presets.pictured import Pictured
from pliant.models.presets.preset import Given

if TYPE_CHECKING:
    from transformers import PreTrainedModel

STANDARD = 16
"""Channels of the first stage that the paper has."""


@dataclass(frozen=True)
class ResNet(Pictured):
    """Residual basic blocks in three stages, with batch norm."""

    family = "resnet"
    example: ClassVar[str] = "resnet-20"

    @classmethod
    def of_shape(cls, shape: str) -> Self | None:
        """From `20` or `20x32`. Raises PliantError for a depth that is not 6n + 2."""
        match = re.fullmatch(r"(\d{1,4})(?:x(\d{1,6}))?", shape)
        return None if match is None else cls(int(match[2] or STANDARD), int(match[1])).checked()

    def checked(self) -> Self:
        """Itself."""
        if self.width < 1 or self.layers < 8 or self.layers % 6 != 2:
            raise PliantError(f"preset {self.name!r}: the depth is 6n + 2, such as 8, 20, 32, 44, 56 or 110")
        return self

    @property
    def name(self) -> str:
        """`resnet-20`."""
        return f"{self.family}-{self.layers}" + ("" if self.width == STANDARD else f"x{self.width}")

    def network(self, given: Given) -> PreTrainedModel:
        """Option A shortcuts."""
        from pliant.models.vision.resnet import CifarResNetConfig, CifarResNetForImageClassification

        return CifarResNetForImageClassification(CifarResNetConfig(**self.config_fields(given), depth=self.layers, width=self.width))
