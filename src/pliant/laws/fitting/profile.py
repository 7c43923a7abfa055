"""Profile likelihood: how much worse the fit gets when one parameter is held elsewhere and all others follow.

When to use it: where an interval from bootstrap samples looks odd, or to see why a parameter is hardly determined (a flat profile).
Every value is a problem of one batch, and its neighbours' optima are further starts, so a profile has no holes.
Cost: some dozen minimisations of the table.
What goes wrong: for robust losses the curvature is turned into a likelihood by assuming Gaussian errors near the corner.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pliant.errors import PliantError
from pliant.laws.fitting.coordinates import selected
from pliant.laws.fitting.fitted import FittedLaw
from pliant.laws.law import Array

SWEEPS = 2
CONFIDENCE = 0.9


@dataclass(frozen=True)
class Profile:
    """The best objective at each value of one parameter."""

    parameter: str
    values: Array
    """In natural units, increasing."""
    objective: Array
    """Mean robust loss, the prior included."""
    deviance: Array
    """Twice the log-likelihood lost, 0 at the best value."""
    low: float | None
    """Where the deviance passes the 90% point of its distribution; None: it does not within the values."""
    high: float | None


def profile(fit: FittedLaw, parameter: str, points: int = 41) -> Profile:
    """Profile one free parameter over four times the width of its interval. Raises PliantError for a parameter that is not free."""
    import torch

    from pliant.laws.fitting.newton import minimise

    (index,) = selected(fit.coordinates, [parameter])
    if points < 5:
        raise PliantError("a profile needs at least 5 points")
    objective = fit.problem()
    grid = _values(fit, index, points)
    frozen = torch.zeros(len(grid), len(fit.theta), dtype=torch.bool)
    frozen[:, index] = True
    rows = torch.zeros(len(grid), dtype=torch.long)
    theta = torch.as_tensor(np.tile(fit.theta, (len(grid), 1)))
    theta[:, index] = torch.as_tensor(grid)
    best = minimise(objective, theta, rows, frozen)
    theta, value = best.theta, best.value
    for shift in (1, -1) * SWEEPS:  # neighbours' optima as starts, from both sides
        start = torch.roll(theta, shift, 0).clone()
        start[:, index] = torch.as_tensor(grid)
        again = minimise(objective, start, rows, frozen)
        better = again.value < value
        theta, value = torch.where(better[:, None], again.theta, theta), torch.where(better, again.value, value)
    return _judged(fit, parameter, index, grid, value.numpy())


def _values(fit: FittedLaw, index: int, points: int) -> Array:
    """Values of the coordinate around the optimum, which is one of them."""
    centre = fit.theta[index]
    if len(fit.bootstrap_samples):
        low, high = np.quantile(fit.bootstrap_samples[:, index], [0.05, 0.95])
        half_width = 2 * max(centre - low, high - centre, 1e-6 * max(abs(centre), 1.0))
    else:
        half_width = 1.0 if fit.coordinates.logarithmic[index] else 0.5 * max(abs(centre), 0.1)
    around = np.linspace(-half_width, half_width, points // 2 * 2 + 1) + centre
    return np.unique(np.clip(around, fit.coordinates.low[index], fit.coordinates.high[index]))


def _judged(fit: FittedLaw, parameter: str, index: int, grid: Array, objective: Array) -> Profile:
    from scipy import stats

    rows, k = len(fit.target), len(fit.theta)
    deviance = 2 * rows * fit.loss.information(fit.noise) * (objective - objective.min())
    limit = float(stats.f.ppf(CONFIDENCE, 1, max(rows - k, 1)))
    values = np.exp(grid) if fit.coordinates.logarithmic[index] else grid
    best = int(deviance.argmin())
    low = _crossing(values[: best + 1][::-1], deviance[: best + 1][::-1], limit)
    high = _crossing(values[best:], deviance[best:], limit)
    return Profile(parameter, values, objective, deviance, low, high)


def _crossing(values: Array, deviance: Array, limit: float) -> float | None:
    """Where the deviance, followed away from the best value, first passes the limit."""
    above = np.flatnonzero(deviance > limit)
    if not len(above):
        return None
    after = int(above[0])
    fraction = (limit - deviance[after - 1]) / (deviance[after] - deviance[after - 1])
    return float(values[after - 1] + fraction * (values[after] - values[after - 1]))
