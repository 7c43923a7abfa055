"""The residual networks of CIFAR: three stages of basic blocks on images of any size, batch norm behind every convolution.

Idea: 6n + 2 layers: a 3 x 3 convolution, three stages of n blocks of two convolutions each, with 1, 2 and 4 times the width and half
the sides from stage to stage; then the mean over all places and a linear layer. Shortcuts have no parameters (option A of the paper:
every other place, new channels zero), so that ResNet-20 of width 16 has 0.27M parameters.
Cost: 41M multiplications for an image of 32 x 32 at depth 20.
What goes wrong: batch norm's running statistics belong to the weights they were taken with; see `pliant.models.batch_norm`.
Source: arXiv 1512.03385, section 4.2; initial weights as in arXiv 1502.01852.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import pad, relu

from pliant.models.vision.classifier import PixelClassifier, PixelConfig


class CifarResNetConfig(PixelConfig):
    """Depth 6n + 2, and the channels of the first stage."""

    model_type = "pliant-resnet"
    depth: int = 20
    width: int = 16


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut; with `stride` 2 the sides halve and the channels grow."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride, self.new = stride, outputs - inputs
        self.conv1, self.norm1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.norm2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(rows, channels, height, width)."""
        inner = self.norm2(self.conv2(relu(self.norm1(self.conv1(x)))))
        shortcut = x[:, :, :: self.stride, :: self.stride]
        return relu(inner + pad(shortcut, (0, 0, 0, 0, self.new // 2, self.new - self.new // 2)))


class ResidualTrunk(nn.Module):
    """From pixels to the mean of the last stage's channels."""

    def __init__(self, config: CifarResNetConfig) -> None:
        super().__init__()
        blocks, width = (config.depth - 2) // 6, config.width
        self.conv, self.norm = nn.Conv2d(config.num_channels, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        inputs = [width, *[width] * blocks, *[2 * width] * blocks, *[4 * width] * blocks]
        strides = [2 if number in (blocks, 2 * blocks) else 1 for number in range(3 * blocks)]
        self.blocks = nn.ModuleList(BasicBlock(inputs[i], inputs[i + 1], stride) for i, stride in enumerate(strides))

    def forward(self, pixels: Tensor) -> Tensor:
        """(rows, 4 x width)."""
        x = relu(self.norm(self.conv(pixels)))
        for block in self.blocks:
            x = block(x)
        return x.mean((2, 3))


class CifarResNetForImageClassification(PixelClassifier):
    """ResNet-20, ResNet-32 ... of CIFAR."""

    config_class = CifarResNetConfig

    def __init__(self, config: CifarResNetConfig) -> None:
        super().__init__(config, ResidualTrunk(config), 4 * config.width)
