"""How far two systems are apart on the same items, with an interval that holds for few items, few runs, and families of items.

Idea: every item is its own control, so the difference is taken item by item. What makes it uncertain is kept apart: which items were
asked (families of items count as one), and which runs were made (every item of a run shares its seed). The two add; what runs and
items share would count twice and is taken off once (two-way components of variance). The interval is Student's t with
Satterthwaite's degrees of freedom. To the items' sum of squares comes one step of the metric's own scale (1 for right and wrong), so
that ten equal answers are no proof that there is no difference; families and runs, whose means move in finer steps, have less of it.
Cost: linear in items and runs.
What goes wrong: heavy tails. Of values like those of a log-normal with a standard deviation of 1.5, a 90% interval covers 70% at 10
items and 83% at 100; bootstraps do no better at equal width, see docs/compare-coverage.md. `heavy` says when a tenth of the items make
most of the spread.
Source: ratio estimator and t as in `pliant.statistics`; Owen, The pigeonhole bootstrap (2007), for what crossing adds; one pseudo-pair
for paired proportions, Bonett and Price (2012), here at half its weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pliant.comparison.outcomes import over_runs
from pliant.statistics import Array, student

POWER = 0.8
HEAVY = 0.9
"""A tenth of the items that makes more than so much of the spread makes intervals too short."""


@dataclass(frozen=True)
class Effect:
    """A difference, b - a, in the metric's own unit, and what its error is made of (variances)."""

    value: float
    of_items: float
    of_runs: float
    shared: float
    """What items and runs both hold, counted once too often in their sum."""
    item_freedom: float
    run_freedom: float
    n: int
    runs: int
    heavy: bool
    confidence: float = 0.9

    @property
    def variance(self) -> float:
        """Of `value`: never below either part."""
        return max(self.of_items + self.of_runs - self.shared, self.of_items, self.of_runs)

    @property
    def stderr(self) -> float:
        """Of `value`."""
        return float(np.sqrt(self.variance))

    @property
    def freedom(self) -> float:
        """Satterthwaite's, of both parts."""
        parts = (self.of_items, self.item_freedom), (self.of_runs, self.run_freedom)
        held = sum(part**2 / freedom for part, freedom in parts if freedom > 0)
        return min(self.variance**2 / held, 1e9) if held > 0 else max(self.item_freedom, 1.0)

    @property
    def reach(self) -> float:
        """From the value to either end of its interval."""
        return student(self.freedom, self.confidence) * self.stderr if np.isfinite(self.stderr) else np.inf

    @property
    def low(self) -> float:
        """The interval's lower end."""
        return self.value - self.reach

    @property
    def high(self) -> float:
        """The interval's upper end."""
        return self.value + self.reach


def effect(
    a: Array,
    b: Array,
    weights: Array,
    families: NDArray[np.int64],
    step: float,
    same_runs: bool = False,
    totals: bool = False,
    confidence: float = 0.9,
) -> Effect:
    """How much more `b` (runs, items) has than `a` (runs, items), on average over runs and, by `weights` (items,), over items.

    Args:
        a: The values of one system. NaN is an answer that was not given: an item counts with those that were.
        b: The values of the other, on the same items.
        weights: What each item counts.
        families: What hangs together, as whole numbers from 0, each used.
        step: The metric's smallest step.
        same_runs: The runs are the same in both (seeds of one name), so that they are paired too.
        totals: What each run got is all there is, so only the runs count.
        confidence: Of the interval.

    A single family, or a single item, says nothing about its spread: the error is then infinite.
    """
    share = weights / weights.sum()
    differences = over_runs(b) - over_runs(a)
    value = float(differences @ share)
    groups = int(families.max()) + 1
    sums: Array = np.bincount(families, share * (differences - value), groups).astype(np.float64)
    parts = [b - a] if same_runs and len(a) > 1 else [rows for rows in (a, b) if len(rows) > 1]
    of_runs = [_runs(rows, share, families, groups) for rows in parts]
    runs = sum(variance for variance, _, _ in of_runs)
    held = sum(variance**2 / (count - 1) for variance, _, count in of_runs)
    sizes = np.bincount(families, share, groups)
    spread = np.sort(sums**2)[::-1]
    answers = len(weights) * max(len(a), len(b))
    return Effect(
        value=value,
        of_items=_of_items(spread, step**2 / (groups * answers)) if not (totals and runs) else 0.0,
        of_runs=runs,
        shared=sum(both for _, both, _ in of_runs),
        item_freedom=max(1 / float((sizes**2).sum()) - 1, 1e-9),
        run_freedom=runs**2 / held if held > 0 else 0.0,
        n=len(weights),
        runs=max(len(a), len(b)),
        heavy=groups >= 10 and float(spread[: groups // 10].sum()) > HEAVY * float(spread.sum()) > 0 and not _few_levels(differences),
        confidence=confidence,
    )


def _of_items(squares: Array, pseudo: float) -> float:
    """The variance that (families,) squared sums tell, with what one step adds."""
    groups = len(squares)
    return groups / (groups - 1) * (float(squares.sum()) + pseudo) if groups > 1 else np.inf


def _runs(rows: Array, share: Array, families: NDArray[np.int64], groups: int) -> tuple[float, float, int]:
    """The variance of the mean over runs, the part of it that is items' own within runs, and the number of runs."""
    filled = np.where(np.isnan(rows), np.nanmean(rows, axis=0), rows)
    sums = np.stack([np.bincount(families, share * row, groups) for row in filled])  # (runs, families)
    means, count = sums.sum(axis=1), len(sums)
    variance = float(np.var(means, ddof=1)) / count
    left = sums - sums.mean(axis=0) - (means - means.mean())[:, None] / groups
    both = groups / (groups - 1) * float((left**2).sum()) / ((count - 1) * count) if groups > 1 else 0.0
    return variance, both, count


def _few_levels(differences: Array) -> bool:
    """Right and wrong, and points: rare differences of one step are no heavy tail."""
    return len(np.unique(np.abs(differences[:1000]))) <= 5


def detectable(stderr: float, freedom: float, confidence: float = 0.9, power: float = POWER) -> float:
    """The smallest true difference that is found with probability `power`, given the standard error and its freedom."""
    from scipy import special

    return (student(freedom, confidence) + float(special.stdtrit(freedom, power))) * stderr if np.isfinite(stderr) else np.inf
