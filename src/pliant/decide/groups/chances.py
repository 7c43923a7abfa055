"""Who is best, from what may be: probabilities and regret by numerical integration, so that the same question has the same answer.

Idea: given the setting, groups are independent and Gaussian; group g is best with probability of all others lying above it, an
integral over one variable, whatever the number of groups. Settings are then averaged by their weight.
"""

from __future__ import annotations

import numpy as np
from scipy.special import log_ndtr, ndtr

from pliant.statistics import Array

NODES = 121
"""Points of an integral over the lowest value."""
LEAST = 1e-4
"""Settings of less weight are left out."""


def best(mean: Array, sd: Array, weight: Array) -> tuple[Array, Array]:
    """Probability of each group to have the lowest value, and its expected excess over the lowest, (groups,) both.

    `mean`, `sd` are (settings, groups), `weight` (settings,). The excess is the middle one over settings: the few in which anything may
    happen would decide a mean, and on published tables overstate it tenfold.
    """
    chance, found, shares = np.zeros(mean.shape[1]), list[Array](), list[float]()
    for middle, spread, share in zip(mean, np.maximum(sd, 1e-12), weight, strict=True):
        if share < LEAST:
            continue
        low, high = (middle - 6 * spread).min(), (middle + 6 * spread).min()
        lowest = np.linspace(low, high, NODES)
        standard = (lowest[:, None] - middle) / spread
        above = log_ndtr(-standard)
        survive = np.exp(above.sum(axis=1))
        density = np.exp(-0.5 * standard**2) / spread / np.sqrt(2 * np.pi)
        each = np.trapezoid(density * np.exp(above.sum(axis=1, keepdims=True) - above), lowest, axis=0)
        chance += share * each / max(each.sum(), 1e-300)
        found.append(middle - (low + np.trapezoid(survive, lowest)))
        shares.append(share)
    excess = np.maximum(np.array([_median(values, np.array(shares)) for values in np.stack(found, axis=1)]), 0)
    return chance / max(chance.sum(), 1e-300), excess


def _median(values: Array, weight: Array) -> float:
    order = np.argsort(values)
    total = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])


def lower(mean: Array, sd: Array, weight: Array, one: int, other: int) -> float:
    """Probability that group `one` has a lower value than group `other`."""
    spread = np.maximum(np.hypot(sd[:, one], sd[:, other]), 1e-12)
    return float(weight @ ndtr((mean[:, other] - mean[:, one]) / spread))


def quantiles(mean: Array, sd: Array, weight: Array, confidence: float = 0.9) -> tuple[Array, Array, Array]:
    """Low end, mean and high end, (groups,) each, of the mixture over settings."""
    middle = weight @ mean
    spread = np.sqrt(weight @ (sd**2 + (mean - middle) ** 2))
    grid = middle + spread * np.linspace(-6, 6, 2 * NODES - 1)[:, None]
    below = np.zeros_like(grid)
    for centre, width, share in zip(mean, np.maximum(sd, 1e-12), weight, strict=True):
        if share >= LEAST:
            below += share * ndtr((grid - centre) / width)
    ends = [np.array([np.interp(level, below[:, group], grid[:, group]) for group in range(len(middle))]) for level in _ends(confidence)]
    return ends[0], middle, ends[1]


def _ends(confidence: float) -> tuple[float, float]:
    return (1 - confidence) / 2, (1 + confidence) / 2
