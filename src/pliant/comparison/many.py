"""Many tasks, and many systems: what is left of small p-values, of large differences, and of a ranking.

Idea: of a hundred tasks ten are below 0.1 by chance, so a p-value becomes the share of false alarms among all that are as small
(Benjamini and Hochberg 1995). The task with the largest difference owes some of it to luck, so differences are drawn towards their
mean by as much as their errors say (normal means with a between-task variance: DerSimonian and Laird 1986). Systems that cannot be
told apart share a rank: each has the interval of ranks that all pairwise differences leave it, held together by one bound for all
pairs (the largest standardised difference of systems that are all alike, simulated).
What goes wrong: tasks are taken for unrelated; when several are read off the same items, q-values are too hopeful or too shy.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pliant.statistics import Array, student

DRAWS = 4000


def false_discovery(p: Sequence[float]) -> list[float]:
    """The q-value of each p-value: the false-discovery rate at which it is still a discovery."""
    values = np.asarray(p, np.float64)
    order = np.argsort(-values, kind="stable")
    ranks = np.arange(len(values), 0, -1)
    found = np.empty(len(values))
    found[order] = np.minimum.accumulate(np.minimum(1.0, values[order] * len(values) / ranks))
    return found.tolist()


def shrunken(values: Array, errors: Array) -> tuple[Array, Array, float]:
    """Differences (tasks,) with standard errors (tasks,) drawn towards their common mean: the new ones, their errors, and the variance
    between tasks beyond chance. Of fewer than three tasks nothing can be learned: they stay.
    """
    if len(values) < 3 or not np.isfinite(errors).all() or (errors <= 0).any():
        return values, errors, float("nan")
    precision = errors**-2.0
    mean = float(precision @ values / precision.sum())
    excess = float(precision @ (values - mean) ** 2) - (len(values) - 1)
    between = max(0.0, excess / float(precision.sum() - (precision**2).sum() / precision.sum()))
    weights = 1 / (errors**2 + between)
    mean = float(weights @ values / weights.sum())
    kept = between / (between + errors**2)
    return mean + kept * (values - mean), np.sqrt(kept * errors**2 + (1 - kept) ** 2 / weights.sum()), between


def rank_intervals(means: Array, covariance: Array, higher: bool, freedom: float = 1e9, confidence: float = 0.9) -> list[tuple[int, int]]:
    """The ranks (1 is best) that each of (systems,) means may have, all at once with probability `confidence`.

    Args:
        means: Of the systems.
        covariance: (systems, systems) of those means.
        higher: Whether more is better.
        freedom: Degrees of freedom of their errors.
        confidence: That every true rank is within its interval.
    """
    count = len(means)
    if count < 2:
        return [(1, 1)] * count
    variances = np.diag(covariance)
    spread: NDArray[np.float64] = variances[:, None] + variances[None] - 2 * covariance
    errors = np.sqrt(np.maximum(spread, 1e-300))
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0))
    draws = np.random.default_rng(0).standard_normal((DRAWS, count)) @ root.T
    largest = np.zeros(DRAWS)
    for one in range(count):
        largest = np.maximum(largest, np.abs((draws[:, one, None] - draws) / errors[one]).max(axis=1, where=errors[one] > 1e-12, initial=0))
    bound = float(np.quantile(largest, confidence)) * student(freedom, confidence) / student(1e9, confidence)
    above = (means[None] - means[:, None]) * (1 if higher else -1) > bound * errors  # [i, j]: j is surely better than i
    return [(1 + int(above[i].sum()), count - int(above[:, i].sum())) for i in range(count)]
