"""The best size for a budget without a law of size and tokens: IsoFLOP curves, and the envelope of all runs.

Idea: (IsoFLOP) of the runs that cost the same compute, a parabola of the loss in ln N has its lowest point at the best size; a line through
ln N of these minima over ln C goes on to the budget. (Envelope) the run of the lowest loss in each range of compute, and a line again.
When to use it: beside the parametric answer: where the three disagree by more than their intervals, some assumption does not hold.
What goes wrong: a minimum outside the sizes that were tried is left out, and said; parabolas are biased where sizes are not centred
around the best (a few percent at a decade to either side); the envelope takes the size of one lucky run, so it is coarse.
Source: Hoffmann et al., arXiv 2203.15556, approaches 1 and 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pliant.statistics import Array

SAME = 0.05
"""Runs belong to one budget when their compute differs by less than this share."""
FEWEST = 3
"""Sizes of a budget, and budgets of a line, at least."""
BINS_A_DECADE = 3
CONFIDENCE = 0.9


@dataclass(frozen=True)
class Approach:
    """One way to the best size; without `size` it could not be gone, and `note` says why."""

    approach: str
    size: float | None
    """Best parameters at the budget."""
    low: float | None
    high: float | None
    """Its 90% interval, from how far the minima lie from their line."""
    exponent: float | None
    """Of the best size, as compute grows."""
    budgets: int
    note: str


def isoflop(N: Array, D: Array, loss: Array, compute: float) -> Approach:
    """Approach 2. Arrays (rows,): parameters, tokens, and the measured loss."""
    minima: list[tuple[float, float]] = []
    outside = 0
    for rows in _budgets(6 * N * D):
        sizes = np.log(N[rows])
        if len(np.unique(sizes.round(9))) < FEWEST:
            continue
        centre = sizes.mean()
        square, slope, _ = np.polyfit(sizes - centre, loss[rows], 2)
        best = centre - slope / (2 * square) if square > 0 else np.inf
        if sizes.min() <= best <= sizes.max():
            minima.append((float(np.log(6 * N * D)[rows].mean()), best))
        else:
            outside += 1
    note = f"; {outside} more have no minimum among their sizes" if outside else ""
    return _line("IsoFLOP", minima, compute, note, "no three budgets of compute were spent on three sizes each, with a minimum among them")


def envelope(N: Array, D: Array, loss: Array, compute: float) -> Approach:
    """Approach 1, of finished runs. Arrays (rows,): parameters, tokens, and the measured loss."""
    spent = np.log(6 * N * D)
    bins = np.floor((spent - spent.min()) * BINS_A_DECADE / np.log(10) + 1e-9)
    lowest: list[tuple[float, float]] = []
    for one in np.unique(bins):
        rows = np.flatnonzero(bins == one)
        if len(np.unique(N[rows])) >= FEWEST:
            best = rows[np.argmin(loss[rows])]
            lowest.append((float(spent[best]), float(np.log(N[best]))))
    return _line("envelope", lowest, compute, "", "fewer than three ranges of compute hold runs of three sizes")


def _budgets(compute: Array) -> Iterator[NDArray[np.int64]]:
    """Rows of each group of runs that cost the same."""
    order = np.argsort(compute, kind="stable")
    start = 0
    for end in range(1, len(order) + 1):
        if end == len(order) or compute[order[end]] > compute[order[start]] * (1 + SAME):
            yield order[start:end]
            start = end


def _line(approach: str, points: list[tuple[float, float]], compute: float, note: str, missing: str) -> Approach:
    """A straight line through (ln C, ln N), read at the budget."""
    from scipy import stats

    if len(points) < FEWEST:
        return Approach(approach, None, None, None, None, len(points), missing + note)
    x, y = np.array(points).T
    centre = x.mean()
    slope, level = np.polyfit(x - centre, y, 1)
    at = np.log(compute) - centre
    left = y - level - slope * (x - centre)
    error = np.sqrt((left**2).sum() / (len(x) - 2) * (1 / len(x) + at**2 / ((x - centre) ** 2).sum()))
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(x) - 2)) * error
    middle = level + slope * at
    low, high = (float(np.exp(np.clip(middle + side * reach, -200, 200))) for side in (-1, 1))
    return Approach(approach, float(np.exp(middle)), low, high, float(slope), len(x), f"from {len(x)} budgets{note}")
