"""A weight matrix on its grids: what every method of quantization returns, and round-to-nearest itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pliant.quantization.grid import Granularity, Grid, Scheme, fit_grid, slices

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Quantized:
    """`values` (out, in) float32; `values * channel_scale` lies on `grid`, which is shaped against `grid.slices(values, granularity)`."""

    values: Tensor
    grid: Grid
    channel_scale: Tensor | None = None
    """AWQ's factor of each input channel (in,); None: the values themselves lie on the grid."""

    def rows(self, start: int, end: int) -> Quantized:
        """Some of the rows, with their grids; a grid that all rows share stays whole."""
        grid = self.grid
        if grid.scale.shape[0] == len(self.values):
            grid = grid.reshaped(lambda part: part[start:end])
        return Quantized(self.values[start:end], grid, self.channel_scale)


def nearest(weight: Tensor, bits: int, scheme: Scheme = "symmetric", granularity: Granularity = "channel") -> Quantized:
    """Every weight moved to the nearest value of its slice's grid.

    Raises PliantError for bits outside 2..16 and for a group that does not divide the rows.
    """
    sliced = slices(weight.float(), granularity)
    grid = fit_grid(sliced, bits, scheme)
    return Quantized(grid.round(sliced).reshape(weight.shape), grid)


def grid_levels(weight: Tensor) -> int | None:
    """How many values the rows, or groups of 32 within them, of `weight` (out, in) seem to be rounded to; None when not rounded.

    Looks at 64 rows. A row that takes at most 256 values, each twice or more on average, was rounded; so were groups of 32 that take
    at most 20 (4-bit formats with a scale a group). 8-bit groups leave no trace that could be told from chance.
    """
    rows = weight.detach().float()[:: max(1, len(weight) // 64)]
    per_row = sorted(len(row.unique()) for row in rows)[len(rows) // 2]
    if per_row <= min(256, rows.shape[-1] // 2):
        return per_row
    if rows.shape[-1] % 32:
        return None
    groups = rows.reshape(-1, 32)
    per_group = sorted(len(group.unique()) for group in groups[:: max(1, len(groups) // 256)])
    middle = per_group[len(per_group) // 2]
    return middle if middle <= 20 else None
