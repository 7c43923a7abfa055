"""Which grid each column of a matrix is moved to, while GPTQ goes from column to column.

Idea: a grid of a whole tensor or row is fixed from the original weights. A group's grid is fixed from the weights as corrected by the
time its first column is reached, when columns go left to right; under act order its columns come at different times, so that it is
fixed from the original weights as well (static groups).
Source: arXiv 2210.17323 (section "additional tricks" on grouping), its authors' code for static groups.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pliant.quantization.grid import Granularity, Grid, Scheme, fit_grid, joined

if TYPE_CHECKING:
    from torch import Tensor


class ColumnGrids:
    """The grids of one matrix (out, in) whose columns come in `order` (in,); or, with a dimension before these, of several."""

    def __init__(self, grid: Grid, order: Tensor, bits: int, scheme: Scheme, granularity: Granularity, act_order: bool) -> None:
        """`grid`: of the original weights, as `fit_grid` makes it of their slices; of several matrices as `together` does."""
        self.order, self.bits = order, bits
        self.scheme: Scheme = scheme
        self.group = granularity if isinstance(granularity, int) else 0
        self.moving = self.group > 0 and not act_order
        self._of_slices = grid.reshaped(lambda part: part.flatten(order.ndim))  # (..., out, slices of a row)
        self._now = self._of_slices.reshaped(lambda part: part[..., 0])
        self._fitted: list[Grid] = []

    def whole_groups(self, columns: int) -> int:
        """At most so many columns, or one group, without a group that is cut."""
        return max(self.group, columns - columns % self.group) if self.group else columns

    def at(self, column: int, weight: Tensor) -> Grid:
        """The grid (..., out) of one column, given the weights (..., out, in) as they are when it is reached."""
        if self.moving and column % self.group == 0:
            self._fitted.append(fit_grid(weight[..., column : column + self.group], self.bits, self.scheme))
            self._now = self._fitted[-1].reshaped(lambda part: part[..., 0])
        elif self.group and not self.moving:
            place = (self.order[..., column] // self.group)[..., None, None]
            self._now = self._of_slices.reshaped(lambda part: part.take_along_dim(place, -1)[..., 0])
        return self._now

    def refitted(self) -> Grid | None:
        """The grids (..., out, groups, 1) that were fixed on the way, once all columns are through; None where none were."""
        import torch

        return joined(self._fitted, lambda parts: torch.stack(parts, -2)) if self._fitted else None


def together(grids: list[Grid]) -> Grid:
    """The grids of several matrices of one shape as one, with a dimension for the matrices before the others."""
    import torch

    return joined(grids, torch.stack)
