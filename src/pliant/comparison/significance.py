"""Whether there is any difference at all: p-values that keep their level for few items.

Idea: were the systems alike, each item (or family of items) could as well have fallen the other way, so its difference changes sign
freely. For right and wrong that is McNemar's test; with few items all signs are tried; otherwise Student's t stands in. Ties count
half (mid-p), without which such tests are too shy. Where runs count too, no signs can be changed freely, and t it is.
Source: McNemar mid-p as in Fagerland, Lydersen and Laake (2013); Fisher's randomisation test.
"""

from __future__ import annotations

import numpy as np

from pliant.comparison.effect import Effect
from pliant.statistics import Array

MOST_SIGNS = 14
"""Items whose 2 to the power of so many signs are all tried."""


def probability(found: Effect, sums: Array) -> float:
    """The probability of a difference as large as this if there were none.

    Args:
        found: The difference.
        sums: (families,) the differences of each family, summed with their weights.
    """
    if found.runs == 1:
        moved = np.abs(sums[np.abs(sums) > 1e-12 * max(float(np.abs(sums).max(initial=0.0)), 1e-300)])
        if not len(moved):
            return 1.0
        if np.allclose(moved, moved[0], rtol=1e-9):
            return mcnemar(int((sums > moved[0] / 2).sum()), int((sums < -moved[0] / 2).sum()))
        if len(moved) <= MOST_SIGNS:
            return sign_flips(sums[np.abs(sums) >= moved.min()])
    return student_p(found.value, found.stderr, found.freedom)


def mcnemar(won: int, lost: int) -> float:
    """Two-sided mid-p of the binomial with probability one half."""
    from scipy import special

    if won == lost:
        return 1.0
    few, many = min(won, lost), won + lost
    below = float(special.bdtr(few - 1, many, 0.5)) if few else 0.0
    return min(1.0, below + float(special.bdtr(few, many, 0.5)))  # twice the tail, what is as far counted half


def sign_flips(sums: Array) -> float:
    """Two-sided mid-p over all signs of (families,) differences; at most `MOST_SIGNS`."""
    signs = 1 - 2 * ((np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums))) & 1)
    totals, seen = np.abs(signs @ sums), abs(float(sums.sum()))
    near = np.isclose(totals, seen, rtol=1e-9, atol=1e-12 * float(np.abs(sums).sum()))
    return float(((totals > seen) & ~near).mean() + near.mean() / 2)


def student_p(value: float, stderr: float, freedom: float) -> float:
    """Two-sided, of a value against its standard error."""
    from scipy import special

    if stderr == 0:
        return 1.0 if value == 0 else 0.0
    return float(2 * special.stdtr(freedom, -abs(value) / stderr)) if np.isfinite(stderr) else 1.0
