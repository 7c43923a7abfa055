"""AWQ: scale up the input channels that carry large activations before rounding, and shrink them back after.

Idea: Q(W diag(s)) diag(1/s) rounds the columns of W that meet large inputs on a relatively finer grid. s = m^a, with m the
mean magnitude of each input channel; the exponent a is searched, and each row's range is then clipped by a searched fraction,
both to the least ||(W - Q) X||^2.
When to use it: 3-4 bits on models with outlier channels; no column order, no solves, so it is hard to overfit.
Cost: about 30 roundings of the weight, each with one product against the inputs' second moments H = X X^T, which stand for
the inputs, so that no text is needed again.
What goes wrong: with channel grids and no outliers it equals round-to-nearest. The result lies on a plain grid only after
the channel scale is folded into the layer before.
Source: arXiv 2306.00978 (section 3.2 for the scale, its authors' code for the clipping).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pliant.quantization.grid import Granularity, Grid, Scheme, fit_grid, slices
from pliant.quantization.nearest import Quantized, nearest

if TYPE_CHECKING:
    from torch import Tensor

EXPONENTS = 20
"""Exponents tried, evenly spaced in [0, 1): zero is round-to-nearest."""

CLIPS = tuple(1 - step / 20 for step in range(11))
"""Fractions of the range tried: from all of it to half."""


def awq(
    weight: Tensor, moments: Tensor, magnitudes: Tensor, bits: int, scheme: Scheme = "symmetric", granularity: Granularity = "channel"
) -> Quantized:
    """`weight` (out, in) rounded on a grid of scaled channels, given its inputs' moments H (in, in) and mean magnitudes (in,).

    Its output error on the calibration inputs is never above round-to-nearest's. Raises PliantError as
    `grid.fit_grid` and `grid.slices` do.
    """
    weight = weight.float()
    channel_scales = [_channel_scale(magnitudes, exponent / EXPONENTS) for exponent in range(EXPONENTS)]
    errors = [output_error(weight - nearest(weight * s, bits, scheme, granularity).values / s, moments).sum() for s in channel_scales]
    channel_scale = channel_scales[min(range(EXPONENTS), key=lambda index: float(errors[index]))]
    scaled = slices(weight * channel_scale, granularity)
    grid = _clipped(weight, scaled, channel_scale, moments, bits, scheme)
    return Quantized(grid.round(scaled).reshape(weight.shape) / channel_scale, grid, channel_scale)


def _clipped(weight: Tensor, scaled: Tensor, channel_scale: Tensor, moments: Tensor, bits: int, scheme: Scheme) -> Grid:
    """The grids that span the best fraction of each slice's range: it is chosen for each row of outputs.

    A grid shared by all rows takes the fraction that is best for their sum.
    """
    shared = scaled.shape[0] == 1 and len(weight) > 1
    best: Grid | None = None
    least: Tensor | None = None
    for fraction in CLIPS:
        grid = fit_grid(scaled * fraction, bits, scheme)
        error = output_error(weight - grid.round(scaled).reshape(weight.shape) / channel_scale, moments)
        error = error.sum().reshape(1) if shared else error
        if best is None or least is None:
            best, least = grid, error
        else:
            better = (error < least).reshape(-1, *[1] * (scaled.ndim - 1))
            zero = None if grid.zero is None or best.zero is None else grid.zero.where(better, best.zero)
            best, least = Grid(grid.scale.where(better, best.scale), zero, grid.low, grid.high), error.minimum(least)
    assert best is not None
    return best


def output_error(difference: Tensor, moments: Tensor) -> Tensor:
    """||d X||^2 of each row d of `difference` (out, in): (out,), from the inputs' second moments."""
    return ((difference @ moments) * difference).sum(-1)


def _channel_scale(magnitudes: Tensor, exponent: float) -> Tensor:
    """magnitudes^exponent around 1; a channel that is always zero is left alone."""
    import torch

    scale = torch.where(magnitudes > 0, magnitudes.float(), 1.0).clamp(min=1e-8) ** exponent
    return scale / (scale.max() * scale.min()).sqrt()
