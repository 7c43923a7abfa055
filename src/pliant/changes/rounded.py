"""A weight matrix on its grids: what every rounding method returns, and round-to-nearest itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pliant.rounding import Grid, Scheme, Slice, fit_grid, slices

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Rounded:
    """`values` (out, in) float32; `values * stretch` lies on `grid`, which is shaped against `rounding.slices(values, per)`."""

    values: Tensor
    grid: Grid
    stretch: Tensor | None = None
    """AWQ's factor of each input channel (in,); None: the values themselves lie on the grid."""

    def rows(self, start: int, end: int) -> Rounded:
        """Some of the rows, with their grids; a grid that all rows share stays whole."""
        grid = self.grid
        if grid.scale.shape[0] == len(self.values):
            grid = Grid(grid.scale[start:end], None if grid.zero is None else grid.zero[start:end], grid.low, grid.high)
        return Rounded(self.values[start:end], grid, self.stretch)


def nearest(weight: Tensor, bits: int, scheme: Scheme = "symmetric", per: Slice = "channel") -> Rounded:
    """Every weight moved to the nearest value of its slice's grid.

    Raises PliantError for bits outside 2..16 and for a group that does not divide the rows.
    """
    sliced = slices(weight.float(), per)
    grid = fit_grid(sliced, bits, scheme)
    return Rounded(grid.round(sliced).reshape(weight.shape), grid)
