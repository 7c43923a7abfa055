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

from pliant.rounding import Scheme, Slice, fit_grid, slices

if TYPE_CHECKING:
    from torch import Tensor

EXPONENTS = 20
"""Exponents tried, evenly spaced in [0, 1): zero is round-to-nearest."""

CLIPS = tuple(1 - step / 20 for step in range(11))
"""Shares of the range tried: from all of it to half."""


def awq(weight: Tensor, moments: Tensor, magnitudes: Tensor, bits: int, scheme: Scheme = "symmetric", per: Slice = "channel") -> Tensor:
    """`weight` (out, in) rounded on a stretched grid, float32, given its inputs' moments H (in, in) and mean magnitudes (in,).

    Its output error on the calibration inputs is never above round-to-nearest's. Raises PliantError as
    `rounding.fit_grid` and `rounding.slices` do.
    """
    weight = weight.float()
    stretches = [_stretch(magnitudes, exponent / EXPONENTS) for exponent in range(EXPONENTS)]
    candidates = [clipped_round(weight * stretch, bits, scheme, per, 1.0) / stretch for stretch in stretches]
    errors = [output_error(weight - rounded, moments) for rounded in candidates]
    chosen = min(range(EXPONENTS), key=lambda index: float(errors[index].sum()))
    best, least, stretch = candidates[chosen], errors[chosen], stretches[chosen]
    for share in CLIPS[1:]:
        rounded = clipped_round(weight * stretch, bits, scheme, per, share) / stretch
        error = output_error(weight - rounded, moments)
        better = error < least
        best, least = rounded.where(better[:, None], best), error.where(better, least)
    return best


def output_error(difference: Tensor, moments: Tensor) -> Tensor:
    """||d X||^2 of each row d of `difference` (out, in): (out,), from the inputs' second moments."""
    return ((difference @ moments) * difference).sum(-1)


def clipped_round(weight: Tensor, bits: int, scheme: Scheme, per: Slice, share: float) -> Tensor:
    """Round to the nearest value of a grid that spans only `share` of each slice's range; what lies beyond is cut to it."""
    sliced = slices(weight, per)
    return fit_grid(sliced * share, bits, scheme).round(sliced).view(weight.shape)


def _stretch(magnitudes: Tensor, exponent: float) -> Tensor:
    """magnitudes^exponent around 1; a channel that is always zero is left alone."""
    import torch

    stretch = torch.where(magnitudes > 0, magnitudes.float(), 1.0).clamp(min=1e-8) ** exponent
    return stretch / (stretch.max() * stretch.min()).sqrt()
