"""Jigsaw: tell in which order the patches of an image were put together.

Idea: an image is cut into `grid` x `grid` patches, which are put back in one of `permutations` orders, and the network tells which. The
orders are picked one by one, each as far (in places that differ) from those before it as any of a thousand drawn ones; the first leaves the
image as it is. Pixels left over at the right and below stay where they are.
When to use it: to pretrain a trunk without labels, plain or with the method `adversarial`; a head that tells other things is replaced.
Cost: as classification, over as many images as there are orders.
What goes wrong: patches tell their neighbours by the lines that run across the cut, with no need to see what is in the picture.
Source: arXiv 1603.09246; 31 orders as in arXiv 2003.12862.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import factorial

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pliant.errors import PliantError
from pliant.objectives.altered import Altered

DRAWN = 1000


class Jigsaw(Altered):
    """Tell in which order the patches of an image were put together."""

    grid: int = Field(3, ge=2, le=8, description="Patches along a side")
    permutations: int = Field(31, ge=2, le=1000, description="Orders to tell apart, the right one among them")

    def ways(self) -> Sequence[str]:
        """One for each order. Raises PliantError for images smaller than the grid, and more orders than there are."""
        height, width, _ = self.data.whole().shape
        if min(height, width) < self.grid:
            told = f"images of {height} x {width} pixels cannot be cut into {self.grid} x {self.grid} patches"
            raise PliantError(f"{self.data.source}: {told}")
        if self.permutations > (most := factorial(self.grid**2)):
            raise PliantError(f"{self.grid**2} patches have {most} orders, fewer than {self.permutations}; lower `permutations`")
        return [f"order {number}" for number in range(self.permutations)]

    def made(self, pixels: NDArray[np.uint8], way: int) -> NDArray[np.uint8]:
        """The patches in one of the orders."""
        high, wide = (side // self.grid for side in pixels.shape[1:3])
        found = pixels.copy()
        for place, patch in enumerate(orders(self.grid**2, self.permutations)[way]):
            (row, column), (top, left) = (divmod(number, self.grid) for number in (place, int(patch)))
            cut = pixels[:, top * high : (top + 1) * high, left * wide : (left + 1) * wide]
            found[:, row * high : (row + 1) * high, column * wide : (column + 1) * wide] = cut
        return found


@lru_cache(maxsize=8)
def orders(patches: int, count: int) -> NDArray[np.int64]:
    """(count, patches): the same for the same arguments, all of them different."""
    rng = np.random.default_rng(0)
    drawn = rng.permuted(np.tile(np.arange(patches), (max(DRAWN, 20 * count), 1)), axis=1)
    chosen = [np.arange(patches)]
    apart = (drawn != chosen[0]).sum(1)
    while len(chosen) < count:
        best = int(apart.argmax())
        if not apart[best]:  # all that were drawn are taken: draw others
            drawn = rng.permuted(drawn, axis=1)
            apart = np.min([(drawn != one).sum(1) for one in chosen], axis=0)
            continue
        chosen.append(drawn[best])
        apart = np.minimum(apart, (drawn != drawn[best]).sum(1))
    return np.array(chosen)
