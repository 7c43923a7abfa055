"""Rotation: tell by how much an image was turned, of four quarter turns.

Idea: each image stands upright, on its side, upside down and on its other side, and the network tells which: to do that it has to see what
is in the picture. The labels of the images are left aside.
When to use it: to pretrain a trunk without labels, plain or with the method `adversarial`; a head that tells other things is replaced.
Cost: as classification, over four times the images.
What goes wrong: images without an upright (flowers, satellites, the digits 0, 6, 8 and 9) cannot be told; photographs give themselves away
by sky and ground. Turned by a quarter, an image must be as high as it is wide.
Source: arXiv 1803.07728.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pliant.errors import PliantError
from pliant.objectives.altered import Altered


class Rotation(Altered):
    """Tell by how much an image was turned."""

    def ways(self) -> Sequence[str]:
        """Four. Raises PliantError for images that are not square."""
        height, width, _ = self.data.whole().shape
        if height != width:
            raise PliantError(f"{self.data.source}: images of {height} x {width} pixels cannot be turned by a quarter; give one `size`")
        return ("turned by 0", "turned by 90", "turned by 180", "turned by 270")

    def made(self, pixels: NDArray[np.uint8], way: int) -> NDArray[np.uint8]:
        """Counterclockwise, losing no pixel."""
        return np.rot90(pixels, way, axes=(1, 2))
