"""The lowest point of a law, for the fit and for all of its bootstrap samples at once.

Idea: the optimum of a printed formula is easy to get wrong (three of the published closed forms are); a fine grid that is
narrowed around each sample's own best point is not, and costs milliseconds. Every sample of the fit goes through the same
search, so the spread of the optima is the interval of the decision.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pliant.statistics import Array

CurveFunction = Callable[[Array], Array]
"""Values (samples, points) at positions (1, points) or (samples, points). NaN: no value there."""


def minimise(objective: CurveFunction, low: float, high: float, points: int = 257, zooms: int = 4) -> tuple[Array, Array]:
    """Where each sample is lowest on [low, high], low > 0, and its value there; shapes (samples,).

    A logarithmic grid of `points`, then `zooms` grids between the neighbours of each sample's best point: positions are
    within (high / low)^(1 / (points * 8^zooms)) of the optimum, relatively. A sample without any value gives NaN.
    """
    position = np.geomspace(low, high, points)[None, :] if high > low else np.full((1, 1), low)
    for _ in range(zooms):
        best, _ = lowest(objective(position))
        grid = np.broadcast_to(np.log(position), (len(best), position.shape[1]))
        rows = np.arange(len(best))
        left, right = grid[rows, np.maximum(best - 1, 0)], grid[rows, np.minimum(best + 1, grid.shape[1] - 1)]
        position = np.exp(left[:, None] + (right - left)[:, None] * np.linspace(0, 1, 17))
    best, value = lowest(objective(position))
    return np.where(np.isnan(value), np.nan, position[np.arange(len(best)), best]), value


def lowest(values: Array) -> tuple[np.ndarray, Array]:
    """Index and value of the smallest entry of each row; NaN entries never win, a row of NaN has the value NaN."""
    filled = np.where(np.isnan(values), np.inf, values)
    best = filled.argmin(axis=1)
    value = filled[np.arange(len(best)), best]
    return best, np.where(np.isinf(value), np.nan, value)
