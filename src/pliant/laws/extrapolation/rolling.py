"""One extrapolation from a table of runs: weights towards the largest, the target's own model as an anchor, the spread of models.

`LogRuns` are the table on the scale that is fitted. `origin` fits some of the rows and predicts others; done for the rows below
rising thresholds, it shows how far such extrapolations have been off on this very table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pliant.laws.extrapolation.form import Form
from pliant.laws.extrapolation.scale import Errors
from pliant.laws.extrapolation.weighted import WeightedFit, weighted_fit
from pliant.laws.law import Array

COMPUTE_WEIGHT, LOSS_WEIGHT = 0.75, 2.0
"""A row weighs (compute / largest compute)^0.75 (loss / lowest loss)^-2: runs far from the frontier are another regime."""
FEWEST, MOST_ORIGINS = 8, 6
CLIPPED = 4.0
"""Residuals pull their model's predictions by at most so many times the noise."""
RELUCTANCE = 0.5
"""Rows of its model that an anchor must outweigh."""

Rows = NDArray[np.bool_]


@dataclass(frozen=True)
class LogRuns:
    """What is fitted: targets, columns and sizes on the fit's own scales, (rows,) each."""

    columns: Array
    """(rows, columns), as the form takes them before they are centred."""
    size: Array
    """Logarithm of the scale (compute)."""
    y: Array
    """NaN for rows that are only predicted."""
    models: NDArray[np.int64]
    """Which model (cluster) each row belongs to; runs of one model share an error."""
    centred: bool = True
    """Whether the form takes columns and targets relative to the fitted rows' means."""

    def __len__(self) -> int:
        return len(self.size)


@dataclass(frozen=True)
class Origin:
    """A fit to some rows, ready to predict others."""

    runs: LogRuns
    rows: Rows
    fit: WeightedFit
    middle: Array
    level: float
    between: float
    noise: float

    def predict(self, targets: LogRuns) -> tuple[Array, Errors]:
        """Predictions on y's scale, and what is known of their errors."""
        fitted = self.runs
        value, error, leverage = self.fit.predict(targets.columns - self.middle)
        residuals = np.clip(self.fit.residuals, -CLIPPED * self.fit.noise, CLIPPED * self.fit.noise)
        size, models = fitted.size[self.rows], fitted.models[self.rows]
        near = np.exp(-np.abs(targets.size[:, None] - size)) * (targets.models[:, None] == models)
        predicted = value + self.level + near @ residuals / (near.sum(axis=1) + RELUCTANCE)
        new = ~np.isin(targets.models, models)
        spread = np.where(new, self.between, 0.0)
        distance = np.maximum(targets.size - size.max(), 0.0)
        return predicted, Errors(targets.y - predicted, np.hypot(self.noise, spread), error, leverage, spread, distance)


def origin(make: Callable[[], Form], runs: LogRuns, rows: Rows) -> Origin:
    """Fit the chosen rows."""
    size, y = runs.size[rows], runs.y[rows]
    middle = runs.columns[rows].mean(axis=0) if runs.centred else np.zeros(runs.columns.shape[1])
    level = float(y.mean()) if runs.centred else 0.0
    weights = np.exp(COMPUTE_WEIGHT * (size - size.max()) - LOSS_WEIGHT * (y - y.min()))
    weights /= weights.max()
    fit = weighted_fit(make(), runs.columns[rows] - middle, y - level, weights)
    count, k = len(y), len(fit.theta)
    clipped = np.minimum(np.abs(fit.residuals), 3 * fit.noise) ** 2
    noise = float(np.sqrt(weights @ clipped / weights.sum() * count / max(count - k, 1)))
    return Origin(runs, rows, fit, middle, level, between_models(fit.residuals, np.sqrt(weights), runs.models[rows]), noise)


def thresholds(runs: LogRuns, rows: Rows) -> list[Rows]:
    """The rows below each of at most six sizes, evenly spread over those that leave enough to fit."""
    size = np.round(runs.size, 9)
    levels = np.unique(size[rows])[:-1]
    possible = [below for level in levels if (below := rows & (size <= level)).sum() >= FEWEST]
    chosen = np.unique(np.linspace(0, len(possible) - 1, min(MOST_ORIGINS, len(possible))).round().astype(int)) if possible else []
    return [possible[index] for index in chosen]


def past_errors(make: Callable[[], Form], runs: LogRuns, rows: Rows) -> list[Errors]:
    """The errors of extrapolating from each threshold to all larger rows."""
    found: list[Errors] = []
    for below in thresholds(runs, rows):
        ahead = rows & ~below
        targets = LogRuns(runs.columns[ahead], runs.size[ahead], runs.y[ahead], runs.models[ahead], runs.centred)
        found.append(origin(make, runs, below).predict(targets)[1])
    return found


def between_models(residuals: Array, weights: Array, models: NDArray[np.int64]) -> float:
    """Standard deviation of models' mean residuals beyond what noise within models explains (method of moments).

    0 with fewer than four models, or hardly a repeat.
    """
    model = np.unique(models, return_inverse=True)[1]
    counts = np.bincount(model)
    if len(counts) < 4 or (counts > 1).sum() < 2:
        return 0.0
    sums, squares = np.bincount(model, weights), np.bincount(model, weights**2)
    means = np.bincount(model, weights * residuals) / sums
    total = sums.sum()
    within = weights @ (residuals - means[model]) ** 2 / (total - (squares / sums).sum())
    among = sums @ (means - weights @ residuals / total) ** 2
    explained = within * ((squares / sums).sum() - squares.sum() / total)
    return float(np.sqrt(max(0.0, (among - explained) / (total - (sums**2).sum() / total))))
