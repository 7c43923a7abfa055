"""A multilayer perceptron on pixels: every layer sees all of the one before.

When to use it: tiny images, exact identities. What goes wrong: it reads images of the size it was made for, and photographs badly.
"""

from __future__ import annotations

from torch import Tensor, nn

from pliant.models.vision.classifier import PixelClassifier, PixelConfig


class PixelMlpConfig(PixelConfig):
    """The width of the hidden layers, and how many there are."""

    model_type = "pliant-mlp"
    width: int = 128
    depth: int = 1


class DenseTrunk(nn.Module):
    """From pixels to the last hidden layer."""

    def __init__(self, config: PixelMlpConfig) -> None:
        super().__init__()
        pixels = config.num_channels * config.sides[0] * config.sides[1]
        widths = [pixels, *[config.width] * config.depth]
        self.layers = nn.ModuleList(nn.Linear(widths[i], widths[i + 1]) for i in range(config.depth))

    def forward(self, pixels: Tensor) -> Tensor:
        """(rows, width)."""
        x = pixels.flatten(1)
        for layer in self.layers:
            x = layer(x).relu()
        return x


class PixelMlpForImageClassification(PixelClassifier):
    """A few dense layers."""

    config_class = PixelMlpConfig

    def __init__(self, config: PixelMlpConfig) -> None:
        super().__init__(config, DenseTrunk(config), config.width)
