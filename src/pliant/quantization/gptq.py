"""GPTQ: round a linear layer column by column, letting the columns not yet rounded make up for the error.

Idea: minimise ||(W - Q) X||^2 over grid-valued Q. Columns are rounded in a fixed order; after each, the remaining ones move
to where least squares puts them, given the inputs' second moments H = X X^T. With the upper Cholesky factor U of H^-1 that
correction is one rank-one update a column: the error (w_j - q_j) / U_jj, spread along row j of U.
When to use it: 3-4 bits, where round-to-nearest starts to hurt. Needs a little calibration text.
Cost: one Cholesky factor a layer input, shared by every bit width, group size and layer that reads the same input; then
out x in^2 multiply-adds a weight matrix. Matrices of one shape can go side by side (see `gptq_batched`).
What goes wrong: too little or unrepresentative calibration text fits the weights to it; inputs that never vary make H
singular, hence the damping.
Source: arXiv 2210.17323 (algorithm 1); column order by falling diag(H) ("act order") as in its authors' code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pliant.errors import PliantError
from pliant.quantization.column_grids import ColumnGrids
from pliant.quantization.grid import Granularity, Scheme, fit_grid, slices
from pliant.quantization.nearest import Quantized

if TYPE_CHECKING:
    from torch import Tensor


BLOCK_SIZE = 128
"""Columns whose corrections to the columns beyond them are applied together, as one matrix product."""


@dataclass(frozen=True)
class Factor:
    """What GPTQ needs to know of a layer's inputs: the column order and the upper Cholesky factor U of H^-1 in that order."""

    order: Tensor
    upper: Tensor
    act_order: bool = False
    """Whether the order is by falling diag(H)."""


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
            upper = torch.linalg.cholesky(torch.cholesky_inverse(lower), upper=True)
            return Factor(order, upper.float(), act_order)
    raise PliantError("the calibration inputs of a layer are degenerate; give GPTQ more or more varied calibration text")


def gptq(
    weight: Tensor,
    inputs: Factor,
    bits: int,
    scheme: Scheme = "symmetric",
    granularity: Granularity = "channel",
    block_size: int = BLOCK_SIZE,
) -> Quantized:
    """`weight` (out, in) moved to grid values column by column, on the weight's device.

    A tensor's or row's grid is fixed from the original weight, as in round-to-nearest; on groups see `ColumnGrids`.
    Raises PliantError as `grid.fit_grid` and `grid.slices` do.
    """
    weight = weight.float()
    grid = fit_grid(slices(weight, granularity), bits, scheme)
    grids = ColumnGrids(grid, inputs.order, bits, scheme, granularity, inputs.act_order)
    moved = by_columns(weight[:, inputs.order], inputs.upper, grids, block_size)
    return Quantized(moved[:, inputs.order.argsort()].contiguous(), grids.refitted() or grid)


def by_columns(weight: Tensor, upper: Tensor, grids: ColumnGrids, block_size: int) -> Tensor:
    """Algorithm 1: W (out, in) rounded from its first column to its last, given the factor U (in, in) of its inputs.

    Dimensions before these two, of all three alike, are other matrices that go through the same steps.
    """
    import torch

    w = weight.mT.contiguous().mT  # a column is one piece of memory
    columns = w.shape[-1]
    block_size = grids.whole_groups(block_size)
    for start in range(0, columns, block_size):
        end = min(start + block_size, columns)
        errors = torch.empty_like(w[..., start:end])
        for column in range(start, end):
            rounded = grids.at(column, w).round(w[..., column])
            error = errors[..., column - start] = (w[..., column] - rounded) / upper[..., column, column, None]
            w[..., column] = rounded
            _subtract_outer(w[..., column + 1 : end], error, upper[..., column, column + 1 : end])
        _subtract_product(w[..., end:], errors, upper[..., start:end, end:])
    return w


def _subtract_outer(w: Tensor, column: Tensor, row: Tensor) -> None:
    """w -= column row, in place."""
    w.addcmul_(row[..., None, :], column[..., None], value=-1)


def _subtract_product(w: Tensor, left: Tensor, right: Tensor) -> None:
    """w -= left @ right, in place: no product is held beside it."""
    (w.addmm_ if w.ndim == 2 else w.baddbmm_)(left, right, alpha=-1)
