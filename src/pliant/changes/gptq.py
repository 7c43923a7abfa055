"""GPTQ: round a linear layer column by column, letting the columns not yet rounded make up for the error.

Idea: minimise ||(W - Q) X||^2 over grid-valued Q. Columns are rounded in a fixed order; after each, the remaining ones move
to where least squares puts them, given the inputs' second moments H = X X^T. With the upper Cholesky factor U of H^-1 that
correction is one rank-one update a column: the error (w_j - q_j) / U_jj, spread along row j of U.
When to use it: 3-4 bits, where round-to-nearest starts to hurt. Needs a little calibration text.
Cost: one Cholesky factor a layer input, shared by every bit width, group size and layer that reads the same input; then
out x in^2 multiply-adds a weight matrix.
What goes wrong: too little or unrepresentative calibration text fits the weights to it; inputs that never vary make H
singular, hence the damping.
Source: arXiv 2210.17323 (algorithm 1); column order by falling diag(H) ("act order") as in its authors' code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pliant.changes.rounded import Rounded
from pliant.errors import PliantError
from pliant.rounding import Grid, Scheme, Slice, fit_grid, slices

if TYPE_CHECKING:
    from torch import Tensor


LAZY = 128
"""Columns whose corrections to the columns beyond them are applied together, as one matrix product."""


@dataclass(frozen=True)
class Factor:
    """What GPTQ needs to know of a layer's inputs: the column order and the upper Cholesky factor U of H^-1 in that order."""

    order: Tensor
    upper: Tensor


def factor(moments: Tensor, act_order: bool = False, damping: float = 0.01) -> Factor:
    """Factor the inputs' second moments H (in, in), any positive multiple of X X^T.

    `damping` times the mean of diag(H) is added to the diagonal, tenfold more for as long as H stays singular. An input that
    was always zero gets its own unit diagonal: it cannot take part in corrections, and its column is rounded to nearest.
    Raises PliantError when H holds infinities or NaN, or cannot be made positive definite.
    """
    import torch

    if not bool(torch.isfinite(moments).all()):
        raise PliantError("the calibration inputs of a layer hold infinities or NaN; check the calibration text and the model's dtype")
    moments = moments.double().clone()
    diagonal = moments.diagonal()
    mean = diagonal.mean()
    diagonal[diagonal == 0] = mean if mean > 0 else 1.0
    order = diagonal.argsort(descending=True, stable=True) if act_order else torch.arange(len(moments), device=moments.device)
    moments = moments[order][:, order]
    for attempt in range(4):
        damped = moments + torch.eye(len(moments), dtype=moments.dtype, device=moments.device) * (damping * 10**attempt * mean)
        lower, failed = torch.linalg.cholesky_ex(damped)
        if not failed:
            return Factor(order, torch.linalg.cholesky(torch.cholesky_inverse(lower), upper=True).float())
    raise PliantError("the calibration inputs of a layer are degenerate; give GPTQ more or more varied calibration text")


def gptq(weight: Tensor, inputs: Factor, bits: int, scheme: Scheme = "symmetric", per: Slice = "channel") -> Rounded:
    """`weight` (out, in) moved to grid values column by column, on the weight's device.

    A tensor's or row's grid is fixed from the original weight, as in round-to-nearest. A group's grid is fixed from the
    weights as corrected by then when columns go left to right, and from the original ones under act order (static groups).
    Raises PliantError as `rounding.fit_grid` and `rounding.slices` do.
    """
    import torch

    weight = weight.float()
    order = inputs.order.tolist()
    group = per if isinstance(per, int) else 0
    static = fit_grid(slices(weight, per), bits, scheme)
    moving = group > 0 and order == sorted(order)
    block = max(group, LAZY - LAZY % group) if group else LAZY  # a group never straddles two blocks
    current = weight[:, inputs.order].clone()
    rounded = torch.empty_like(current)
    grid, fixed = static, list[Grid]()
    for start in range(0, len(order), block):
        end = min(start + block, len(order))
        errors = torch.empty_like(current[:, start:end])
        for column in range(start, end):
            if moving and column % group == 0:
                grid = fit_grid(current[:, column : column + group], bits, scheme)
                fixed.append(grid)
            elif group and not moving:
                grid = _of_group(static, order[column] // group)
            before = current[:, column : column + 1]
            after = grid.round(before)
            rounded[:, column : column + 1] = after
            error = (before - after) / inputs.upper[column, column]
            current[:, column + 1 : end] -= error * inputs.upper[column, column + 1 : end]
            errors[:, column - start : column - start + 1] = error
        current[:, end:] -= errors @ inputs.upper[start:end, end:]
    result = torch.empty_like(rounded)
    result[:, inputs.order] = rounded
    return Rounded(result, _joined(fixed) if moving else static)


def _of_group(grids: Grid, group: int) -> Grid:
    """One group's grid, for a single column (out, 1), out of the grids of all groups (out, groups, 1)."""
    zero = None if grids.zero is None else grids.zero[:, group]
    return Grid(grids.scale[:, group], zero, grids.low, grids.high)


def _joined(grids: list[Grid]) -> Grid:
    """The grids of all groups (out, groups, 1), from those of single groups (out, 1)."""
    import torch

    zeros = [grid.zero for grid in grids if grid.zero is not None]
    scale = torch.stack([grid.scale for grid in grids], 1)
    return Grid(scale, torch.stack(zeros, 1) if zeros else None, grids[0].low, grids[0].high)
