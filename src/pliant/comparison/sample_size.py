"""How many items, and how many runs, it takes: for a difference that was seen, and for one that is looked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pliant.comparison.effect import POWER, Effect, detectable
from pliant.comparison.significance import student_p

MOST = 10**9
"""More items than this is no answer."""


def grown(found: Effect, items: float, runs: float) -> Effect:
    """The same difference with so many times the items and the runs."""
    return replace(
        found,
        of_items=found.of_items / items,
        of_runs=found.of_runs / runs,
        shared=found.shared / items / runs,
        item_freedom=(found.item_freedom + 1) * items - 1,
        run_freedom=(found.run_freedom + 1) * runs - 1 if found.run_freedom else 0.0,
        n=round(found.n * items),
        runs=round(found.runs * runs),
    )


def more_items(found: Effect, margin: float, power: float = POWER) -> int | None:
    """How many items besides those there are would decide, were the true difference the one seen: 0 where they do.

    Deciding is showing that there is a difference, or that it is within the margin, whichever is sooner; it then happens with
    probability `power`. None where no number of items does: the runs differ too much among themselves.
    """
    needed = least(found.n, lambda count: _decided(grown(found, count / found.n, 1.0), margin, power))
    return None if needed is None else needed - found.n


def more_runs(found: Effect, margin: float, power: float = POWER) -> int | None:
    """The same in runs of either system, on the items there are; None also where there is one run only, which tells nothing of others."""
    if found.runs < 2 or not found.of_runs:
        return None
    needed = least(found.runs, lambda count: _decided(grown(found, 1.0, count / found.runs), margin, power))
    return None if needed is None else needed - found.runs


def _decided(found: Effect, margin: float, power: float) -> bool:
    """Whether one of both is shown often enough; for being tied, both ends must stay within the margin."""
    if detectable(found.stderr, found.freedom, found.confidence, power) <= abs(found.value):
        return True
    room = [margin - found.value, margin + found.value]
    if min(room) <= found.reach:
        return False
    return sum(1 - student_p(one - found.reach, found.stderr, found.freedom) / 2 for one in room) - 1 >= power


def least(start: int, enough: Callable[[int], bool]) -> int | None:
    """The smallest whole number from `start` on that is enough, were more always at least as good."""
    if enough(start):
        return start
    low, high = start, start
    while not enough(high):
        low, high = high, high * 2
        if high > MOST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
