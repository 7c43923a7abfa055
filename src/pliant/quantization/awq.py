"""AWQ: stretch the input channels that carry large activations before rounding, and shrink them back after.

Idea: Q(W diag(s)) diag(1/s) rounds the columns of W that meet large inputs on a relatively finer grid. s = m^a, with m the
mean magnitude of each input channel; the exponent a is searched, and each row's range is then clipped by a searched share,
both to the least ||(W - Q) X||^2.
When to use it: 3-4 bits on models with outlier channels; no column order, no solves, so it is hard to overfit.
Cost: about 30 roundings of the weight, each with one product against the inputs' second moments H = X X^T, which stand for
the inputs, so that no text is needed again.
What goes wrong: with channel grids and no outliers it equals round-to-nearest. The result lies on a plain grid only after
the stretch is folded into the layer before.
Source: arXiv 2306.00978 (section 3.2 for the scale, its authors' code for the clipping).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pliant.quantization.grid import Grid, Scheme, Slice, fit_grid, slices
from pliant.quantization.nearest import Rounded, nearest

if TYPE_CHECKING:
    from torch import Tensor

EXPONENTS = 20
"""Exponents tried, evenly spaced in [0, 1): zero is round-to-nearest."""

CLIPS = tuple(1 - step / 20 for step in range(11))
"""Shares of the range tried: from all of it to half."""


def awq(weight: Tensor, moments: Tensor, magnitudes: Tensor, bits: int, scheme: Scheme = "symmetric", per: Slice = "channel") -> Rounded:
    """`weight` (out, in) rounded on a stretched grid, given its inputs' moments H (in, in) and mean magnitudes (in,).

    Its output error on the calibration inputs is never above round-to-nearest's. Raises PliantError as
    `rounding.fit_grid` and `rounding.slices` do.
    """
    weight = weight.float()
    stretches = [_stretch(magnitudes, exponent / EXPONENTS) for exponent in range(EXPONENTS)]
    errors = [output_error(weight - nearest(weight * s, bits, scheme, per).values / s, moments).sum() for s in stretches]
    stretch = stretches[min(range(EXPONENTS), key=lambda index: float(errors[index]))]
    stretched = slices(weight * stretch, per)
    grid = _clipped(weight, stretched, stretch, moments, bits, scheme)
    return Rounded(grid.round(stretched).reshape(weight.shape) / stretch, grid, stretch)


def _clipped(weight: Tensor, stretched: Tensor, stretch: Tensor, moments: Tensor, bits: int, scheme: Scheme) -> Grid:
    """The grids that span the best share of each slice's range: the share is chosen for each row of outputs.

    A grid shared by all rows takes the share that is best for their sum.
    """
    shared = stretched.shape[0] == 1 and len(weight) > 1
    best: Grid | None = None
    least: Tensor | None = None
    for share in CLIPS:
        grid = fit_grid(stretched * share, bits, scheme)
        error = output_error(weight - grid.round(stretched).reshape(weight.shape) / stretch, moments)
        error = error.sum().reshape(1) if shared else error
        if best is None or least is None:
            best, least = grid, error
        else:
            better = (error < least).reshape(-1, *[1] * (stretched.ndim - 1))
            zero = None if grid.zero is None or best.zero is None else grid.zero.where(better, best.zero)
            best, least = Grid(grid.scale.where(better, best.scale), zero, grid.low, grid.high), error.minimum(least)
    assert best is not None
    return best


def output_error(difference: Tensor, moments: Tensor) -> Tensor:
    """||d X||^2 of each row d of `difference` (out, in): (out,), from the inputs' second moments."""
    return ((difference @ moments) * difference).sum(-1)


def _stretch(magnitudes: Tensor, exponent: float) -> Tensor:
    """magnitudes^exponent around 1; a channel that is always zero is left alone."""
    import torch

    stretch = torch.where(magnitudes > 0, magnitudes.float(), 1.0).clamp(min=1e-8) ** exponent
    return stretch / (stretch.max() * stretch.min()).sqrt()
