"""Two totals on the same items, and no items: how they may have paired.

Idea: an accuracy and its number of items tell how many were right, but not which. The difference of two is known, its error is not: it
is least where the one with fewer right answers has none that the other lacks, and greatest where both were right on items as different
as can be. Both are laid out as items, and compared as such; what holds at the greatest error holds however they paired.
Runs that are known by their mean and standard deviation are laid out as runs, of which Welch's test asks no more.
When to use it: published tables, and results without samples.
What goes wrong: totals bear out large differences only. Samples of each item decide far sooner.
Source: the bounds of Frechet and Hoeffding on what two margins leave open.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pliant.comparison.outcomes import Outcomes
from pliant.errors import PliantError
from pliant.measures.measure import Better
from pliant.statistics import Array

Facts = dict[str, str] | None
MOST = 10_000_000
"""Items of a total."""


def of_total(task: str, metric: str, share: float, count: int, better: Better = "higher", facts: Facts = None) -> Outcomes:
    """A fraction of `count` items that were right (the nearest there can be), as that many items of which nobody knows which."""
    right = round(share * count)
    return _nameless(task, metric, np.repeat([1.0, 0.0], [right, count - right]), better, "fraction", facts)


def of_mean(
    task: str, metric: str, mean: float, stderr: float, count: int, better: Better, facts: dict[str, str] | None = None
) -> Outcomes:
    """A mean of `count` values with its standard error, as values at one distance above and below it."""
    return _nameless(task, metric, _around(mean, stderr * np.sqrt(count), count), better, metric, facts)


def of_runs(task: str, metric: str, mean: float, spread: float, count: int, better: Better, system: str) -> Outcomes:
    """The mean of `count` runs with their standard deviation, as results of runs at one distance above and below it."""
    values = _around(mean, spread, count)
    names = [f"{system} {n}" for n in range(count)] if count > 1 else []
    return Outcomes(task, metric, ["whole run"] * count, values, better, metric, names, totals=True)


def _around(mean: float, spread: float, count: int) -> Array:
    """(count,) of that mean and standard deviation."""
    signs = np.where(np.arange(count) % 2, -1.0, 1.0)
    signs[count // 2 * 2 :] = 0.0  # of an odd number one is the mean
    return mean + spread * np.sqrt((count - 1) / max(float((signs**2).sum()), 1.0)) * signs


def _nameless(task: str, metric: str, values: Array, better: Better, unit: str, facts: Facts) -> Outcomes:
    return Outcomes(task, metric, [str(n) for n in range(len(values))], values, better, unit, facts=facts or {}, nameless=True)


def laid_out(a: Outcomes, b: Outcomes, names: tuple[str, str], alike: bool) -> tuple[Outcomes, Outcomes]:
    """The values of both as if they were on the same items: as much alike as can be, or as little.

    Raises PliantError for other numbers of items, of which the two may share any.
    """
    if len(a.grid.items) != len(b.grid.items):
        told = " and ".join(f"{len(one.grid.items):,} in {name}" for one, name in zip((a, b), names, strict=True))
        raise PliantError(f"{a.task}, {a.metric}: totals of other numbers of items ({told}), which do not compare without samples")
    first, second = (np.sort(np.nanmean(one.grid.values, axis=0)) for one in (a, b))
    items = [str(n) for n in range(len(first))]
    plain = {"items": items, "repeats": (), "families": (), "weights": None, "prompts": {}, "texts": {}}
    return replace(a, values=first, **plain), replace(b, values=second if alike else second[::-1].copy(), **plain)
