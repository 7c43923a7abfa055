"""What all groups share at a scale nobody has measured: the loss there, with a 90% interval.

Idea: a floor and falling powers of the scales, averaged over a grid of floors and exponents that is weighted by how well each explains
the larger scales and by what published laws look like. Width beyond that grows with distance, as rolling extrapolation over published
tables says it must (sheet constants of the extrapolating fit).
What goes wrong: it is one curve for all groups; which of them is better is judged in `drift`, not here.
Source: weights, priors and the width's three constants after pliant's study of extrapolation, see docs/laws-coverage.md.
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
WIDTH = (-1.08, 0.714, 0.531)


def level(scales: Array, losses: Array, compute: Array, target: Array, distance: float) -> tuple[float, float]:
    """Log loss at `target` (columns,) and the half-width of its 90% interval.

    `scales` (cells, columns) is what loss falls with (compute, or size and tokens), `losses` (cells,) log losses, `compute` (cells,) the
    log of compute, `distance` the log of compute from the last cell to the target.
    """
    if len(losses) == 1:
        return float(losses[0]), 0.3
    low, weight = float(np.exp(losses.min())), np.exp(compute - compute.max())
    halved = 0.5 if scales.shape[1] == 1 else 1.0  # compute is size times tokens
    relative = scales / scales[-1]
    predicted, misfit, prior = list[float](), list[float](), list[float]()
    for floor, *powers in itertools.product(FLOORS, *[EXPONENTS] * scales.shape[1]):
        exponents = -halved * np.array(powers)
        factors, _ = nnls(relative**exponents, np.exp(losses) - floor * low)
        fitted = floor * low + relative**exponents @ factors
        misfit.append(float(weight @ (np.log(np.maximum(fitted, 1e-9)) - losses) ** 2 / weight.sum()))
        predicted.append(float(np.log(floor * low + (target / scales[-1]) ** exponents @ factors)))
        believed = sum(((np.log(power) - MIDDLE) / SPREAD) ** 2 for power in powers)
        prior.append(-0.5 * (believed + ((np.log(max(floor, 0.05)) + 0.7) / 0.5) ** 2))
    spread = max(LEAST, float(np.sqrt(min(misfit))))
    effective = float(weight.sum())
    chance = np.array(prior) - effective * np.array(misfit) / (2 * spread**2)
    chance = np.exp(chance - chance.max())
    chance /= chance.sum()
    middle = float(chance @ predicted)
    unsure = float(np.sqrt(chance @ (np.array(predicted) - middle) ** 2)) + LEAST
    nearest = np.argmin(np.abs(np.log(scales / target)).sum(axis=1))
    if np.abs(np.log(scales[nearest] / target)).sum() < 0.05:
        return float(losses[nearest]), LEAST
    return middle, float(np.exp(WIDTH[0] + WIDTH[1] * np.log(unsure) + WIDTH[2] * np.log(max(distance, 0.0) + 0.5)))
