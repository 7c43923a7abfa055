"""What all groups share at a scale nobody has measured: the loss there, with a 90% interval.

Idea: a floor and falling powers of the scales, averaged over a grid of floors and exponents that is weighted by how well each explains
the larger scales and by what published laws look like. Width beyond that grows with distance, as rolling extrapolation over published
tables says it must, and with how far off such predictions were on this table's own larger scales.
What goes wrong: it is one curve for all groups; which of them is better is judged in `drift`, not here.
Source: weights, priors and the width's constants after pliant's study of extrapolation, see docs/laws-coverage.md.
"""

from __future__ import annotations

import itertools

import numpy as np
from scipy.optimize import nnls

from pliant.statistics import Array

FLOORS = (0.0, 0.2, 0.35, 0.45, 0.55, 0.65, 0.75)
"""Of the smallest loss; published floors are half of the mean loss, give or take a third."""
EXPONENTS = (0.1, 0.17, 0.25, 0.33, 0.42, 0.55, 0.7)
MIDDLE, SPREAD = np.log(0.3), 0.5
LEAST = 0.002
HALF, TYPICAL = (-1.08, 0.714, 0.531), (-1.97, 0.694, 0.552)
"""Of the 90% half-width and of the error to expect: log of it, against the log of the doubt and of the distance."""
ROLLING = 4
"""Smaller beginnings of the table from which the rest is predicted, and what they weigh against the belief of before,"""
BEFORE = 0.5
"""which is that errors are larger than those constants say by so much (log): cells of a few groups are rougher than whole tables."""
SHORT, ENOUGH = 0.4, 4
"""And by so much more for each cell that is lacking to so many."""


def level(scales: Array, losses: Array, compute: Array, target: Array, distance: float) -> tuple[float, float]:
    """Log loss at `target` (columns,) and the half-width of its 90% interval.

    `scales` (cells, columns) is what loss falls with (compute, or size and tokens), `losses` (cells,) log losses, `compute` (cells,) the
    log of compute, rising, `distance` the log of compute from the last cell to the target.
    """
    apart = np.abs(np.log(scales / target)).sum(axis=1)
    if apart.min() < 0.05:
        return float(losses[np.argmin(apart)]), LEAST
    (middle,), (doubt,) = _predicted(scales, losses, compute, target[None])
    half = np.exp(HALF[0] + HALF[1] * np.log(doubt) + HALF[2] * np.log(max(distance, 0.0) + 0.5))
    return float(middle), float(half * _own_errors(scales, losses, compute))


def _own_errors(scales: Array, losses: Array, compute: Array) -> float:
    """How much larger the errors on this table's own larger scales are than expected."""
    cells, found = len(losses), list[float]()
    for stop in np.unique(np.linspace(2, cells - 1, ROLLING).round().astype(int)) if cells > 2 else []:
        middle, doubt = _predicted(scales[:stop], losses[:stop], compute[:stop], scales[stop:])
        step = np.maximum(compute[stop:] - compute[stop - 1], 0)
        expected = np.exp(TYPICAL[0] + TYPICAL[1] * np.log(doubt) + TYPICAL[2] * np.log(step + 0.5))
        found.append(float(np.mean(np.log(np.abs(losses[stop:] - middle) / expected + 0.3))))
    before = BEFORE + SHORT * max(0, ENOUGH - cells)
    return float(np.exp((sum(found) + ROLLING * before) / (len(found) + ROLLING)))


def _predicted(scales: Array, losses: Array, compute: Array, targets: Array) -> tuple[Array, Array]:
    """Log losses at `targets` (targets, columns), and how unsure the average over forms is of each."""
    low, weight = float(np.exp(losses.min())), np.exp(compute - compute.max())
    halved = 0.5 if scales.shape[1] == 1 else 1.0  # compute is size times tokens
    relative, asked = scales / scales[-1], targets / scales[-1]
    predicted, misfit, prior = list[Array](), list[float](), list[float]()
    for floor, *powers in itertools.product(FLOORS, *[EXPONENTS] * scales.shape[1]):
        exponents = -halved * np.array(powers)
        factors, _ = nnls(relative**exponents, np.exp(losses) - floor * low)
        fitted = floor * low + relative**exponents @ factors
        misfit.append(float(weight @ (np.log(np.maximum(fitted, 1e-9)) - losses) ** 2 / weight.sum()))
        predicted.append(np.log(np.maximum(floor * low + asked**exponents @ factors, 1e-9)))
        believed = sum(((np.log(power) - MIDDLE) / SPREAD) ** 2 for power in powers)
        prior.append(-0.5 * (believed + ((np.log(max(floor, 0.05)) + 0.7) / 0.5) ** 2))
    spread = max(LEAST, float(np.sqrt(min(misfit))))
    chance = np.array(prior) - float(weight.sum()) * np.array(misfit) / (2 * spread**2)
    chance = np.exp(chance - chance.max())
    chance /= chance.sum()
    forms = np.stack(predicted)
    middle = chance @ forms
    return middle, np.sqrt(chance @ (forms - middle) ** 2) + LEAST
