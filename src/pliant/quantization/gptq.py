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

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pliant.errors import PliantError
from pliant.quantization.grid import Grid, Scheme, Slice, fit_grid, slices
from pliant.quantization.nearest import Rounded

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
    return gptq_together([weight], [inputs], bits, scheme, per)[0]


def gptq_together(
    weights: Sequence[Tensor], inputs: Sequence[Factor], bits: int, scheme: Scheme = "symmetric", per: Slice = "channel"
) -> list[Rounded]:
    """`gptq` of several weights of one shape, each with the factor of its own inputs.

    A step takes the same column of each: what a step costs beside its arithmetic is then paid once for all of them.
    """
    import torch

    order, upper = torch.stack([known.order for known in inputs]), torch.stack([known.upper for known in inputs])
    # (weights, in, out), so that a column is one piece of memory
    current = torch.stack([weight.float()[:, known.order].T for weight, known in zip(weights, inputs, strict=True)])
    grids = [fit_grid(slices(weight.float(), per), bits, scheme) for weight in weights]
    group = per if isinstance(per, int) else 0
    moving = group > 0 and bool((order.diff() == 1).all())
    block = max(group, LAZY - LAZY % group) if group else LAZY  # a group never straddles two blocks
    static = _stacked(grids)
    grid, fixed = _of_slice(static, torch.zeros_like(order[:, 0])), list[Grid]()
    for start in range(0, current.shape[1], block):
        end = min(start + block, current.shape[1])
        errors = torch.empty_like(current[:, start:end])
        for column in range(start, end):
            if moving and column % group == 0:
                fixed.append(fit_grid(current[:, column : column + group].mT, bits, scheme))
                grid = _of_slice(fixed[-1], torch.zeros_like(order[:, 0]))
            elif group and not moving:
                grid = _of_slice(static, order[:, column] // group)
            after = grid.round(current[:, column])
            error = errors[:, column - start] = (current[:, column] - after) / upper[:, column, column, None]
            current[:, column] = after
            current[:, column + 1 : end].addcmul_(upper[:, column, column + 1 : end, None], error[:, None], value=-1)
        current[:, end:].baddbmm_(upper[:, start:end, end:].mT, errors, alpha=-1)
    values = [rounded[known.order.argsort()].T.contiguous() for rounded, known in zip(current, inputs, strict=True)]
    return [Rounded(value, grid) for value, grid in zip(values, _apart(fixed) if moving else grids, strict=True)]


def _stacked(grids: list[Grid]) -> Grid:
    """The grids of several weights (weights, out, slices of a row); a grid of a whole tensor counts as one row and slice."""
    import torch

    zeros = [grid.zero.flatten(1) for grid in grids if grid.zero is not None]
    scale = torch.stack([grid.scale.flatten(1) for grid in grids])
    return Grid(scale, torch.stack(zeros) if zeros else None, grids[0].low, grids[0].high)


def _of_slice(grids: Grid, place: Tensor) -> Grid:
    """For a single column of each weight (weights, out), the grid of its slice, out of (weights, out, slices)."""
    index = place[:, None, None]
    zero = None if grids.zero is None else grids.zero.take_along_dim(index, 2)[..., 0]
    return Grid(grids.scale.take_along_dim(index, 2)[..., 0], zero, grids.low, grids.high)


def _apart(groups: list[Grid]) -> list[Grid]:
    """Each weight's grids (out, groups, 1), from those of one group after the other (weights, out, 1)."""
    import torch

    zeros = [grid.zero for grid in groups if grid.zero is not None]
    scale, zero = torch.stack([grid.scale for grid in groups], 2), torch.stack(zeros, 2) if zeros else None
    return [Grid(each, None if zero is None else zero[index], groups[0].low, groups[0].high) for index, each in enumerate(scale)]
