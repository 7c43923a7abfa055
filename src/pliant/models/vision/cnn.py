"""A small convolutional network without norms: convolution, rectifier, halving, as often as it is deep; then a linear layer.

When to use it: as the plainest network that looks at neighbourhoods. What goes wrong: it reads images of the size it was made for.
"""

from __future__ import annotations

from torch import Tensor, nn

from pliant.models.vision.classifier import PixelClassifier, PixelConfig


class SmallCnnConfig(PixelConfig):
    """The channels of the first layer, which double from layer to layer."""

    model_type = "pliant-cnn"
    width: int = 16
    depth: int = 2

    @property
    def features(self) -> int:
        """What the last layer gives: channels times places."""
        height, width = (side >> self.depth for side in self.sides)
        return self.width * 2 ** (self.depth - 1) * height * width


class ConvolutionTrunk(nn.Module):
    """From pixels to the flat output of the last halving."""

    def __init__(self, config: SmallCnnConfig) -> None:
        super().__init__()
        channels = [config.num_channels, *(config.width * 2**layer for layer in range(config.depth))]
        self.convolutions = nn.ModuleList(nn.Conv2d(channels[i], channels[i + 1], 3, 1, 1) for i in range(config.depth))

    def forward(self, pixels: Tensor) -> Tensor:
        """(rows, features)."""
        for convolution in self.convolutions:
            pixels = nn.functional.max_pool2d(convolution(pixels).relu(), 2)
        return pixels.flatten(1)


class SmallCnnForImageClassification(PixelClassifier):
    """A few convolutions."""

    config_class = SmallCnnConfig

    def __init__(self, config: SmallCnnConfig) -> None:
        super().__init__(config, ConvolutionTrunk(config), config.features)
