"""GPTQ of several matrices of one shape at once.

Idea: a step of `gptq.by_columns` takes the same column of each matrix, so that what a step costs beside its arithmetic is paid once
for all of them. No matrix sees another: the result is that of `gptq` of each.
When to use it: small matrices, where a step costs more than its arithmetic. Cost: all of them in float32, with their factors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pliant.quantization.column_grids import ColumnGrids, together
from pliant.quantization.gptq import BLOCK_SIZE, Factor, by_columns
from pliant.quantization.grid import Granularity, Scheme, fit_grid, slices
from pliant.quantization.nearest import Quantized

if TYPE_CHECKING:
    from torch import Tensor


def gptq_batched(
    weights: Sequence[Tensor],
    inputs: Sequence[Factor],
    bits: int,
    scheme: Scheme = "symmetric",
    granularity: Granularity = "channel",
    block_size: int = BLOCK_SIZE,
) -> list[Quantized]:
    """`gptq` of several weights of one shape, each with the factor of its own inputs, all in one kind of column order."""
    import torch

    order, upper = torch.stack([known.order for known in inputs]), torch.stack([known.upper for known in inputs])
    original = [fit_grid(slices(weight.float(), granularity), bits, scheme) for weight in weights]
    grids = ColumnGrids(together(original), order, bits, scheme, granularity, inputs[0].act_order)
    stacked = torch.stack([weight.float()[:, known.order].T for weight, known in zip(weights, inputs, strict=True)]).mT
    moved = by_columns(stacked, upper, grids, block_size)
    values = [one[:, known.order.argsort()].contiguous() for one, known in zip(moved, inputs, strict=True)]
    refitted = grids.refitted()
    grid_of = [grid if refitted is None else refitted.reshaped(lambda part, i=i: part[i]) for i, grid in enumerate(original)]
    return [Quantized(value, grid) for value, grid in zip(values, grid_of, strict=True)]
