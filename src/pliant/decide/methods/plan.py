"""The plan of a search: how long a run is, and how many runs go how far. Successive halving, the same for every arm.

Idea: of `trials` settings all are trained for a quarter of the steps, the better half of them up to a half, and the better half of those,
two at least, to the end; then the best is trained anew with `seeds` fresh seeds, which nothing was chosen by.
Source: successive halving, arXiv 1502.07943.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pliant.errors import PliantError
from pliant.numbers import parse_count

RUNGS = (0.25, 0.5, 1.0)
FORESEEN = 0.125
"""Where trials are read besides, so that a slope is known at the first rung."""
ALONG = (1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1.0)
"""Where the final runs are read, as fractions of their steps."""
FEWEST = 8
"""Steps of a run at least."""
_SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True)
class SearchPlan:
    """A run's steps, an arm's settings, and the seeds of its final runs."""

    steps: int
    trials: int
    seeds: int

    @property
    def rungs(self) -> list[tuple[int, int]]:
        """(steps, how many trials are trained so far)."""
        counts, left = list[tuple[int, int]](), self.trials
        for point in points(self.steps, RUNGS):
            counts.append((point, left))
            left = min(left, max(2, -(-left // 2)))
        return counts

    @property
    def early(self) -> list[int]:
        """Steps after which a trial is read, those of the rungs among them."""
        return points(self.steps, (FORESEEN, *RUNGS))

    @property
    def along(self) -> list[int]:
        """Steps after which a final run is read."""
        return points(self.steps, ALONG)

    @property
    def arm_steps(self) -> int:
        """Optimizer steps of an arm."""
        before, total = 0, self.seeds * self.steps
        for point, count in self.rungs:
            total, before = total + (point - before) * count, point
        return total

    @property
    def arm_readings(self) -> int:
        """How often an arm's runs are read."""
        return self.trials + sum(count for _, count in self.rungs) + self.seeds * len(self.along)


def points(steps: int, fractions: Sequence[float]) -> list[int]:
    """Steps at these fractions of a run, each once."""
    return sorted({max(1, round(steps * fraction)) for fraction in fractions})


def parse_budget(text: str) -> tuple[int | None, float | None]:
    """`5000` or `20k` is a number of steps, `20m` or `2h` a time: steps, or seconds.

    Raises PliantError for what is neither. A small m is minutes here: a million steps are written 1M.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*(s|m|min|h|d)", text.strip())
    if match:
        seconds = float(match[1]) * _SECONDS[match[2]]
        if seconds > 0:
            return None, seconds
    try:
        steps = parse_count(text)
    except ValueError:
        steps = 0
    if steps < 1:
        raise PliantError(f"--budget {text[:40]!r}: give optimizer steps, such as 5000, or a time, such as 20m or 2h")
    return steps, None


def fitting(arms: int, trials: int, seeds: int, steps: float, step_cost: float = 1.0, reading_cost: float = 0.0) -> SearchPlan:
    """The longest runs whose search over `arms` arms costs at most `steps`, all costs in one unit (steps, or seconds).

    Raises PliantError for a budget that is too small.
    """
    low, high = 0, 1
    while _cost(SearchPlan(high, trials, seeds), arms, step_cost, reading_cost) <= steps and high < 2**40:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _cost(SearchPlan(middle, trials, seeds), arms, step_cost, reading_cost) <= steps else (low, middle)
    if low < FEWEST:
        least = _cost(SearchPlan(FEWEST, trials, seeds), arms, step_cost, reading_cost)
        unit = "steps" if step_cost == 1.0 and not reading_cost else "seconds"
        raise PliantError(
            f"--budget: too small for {arms} arms of {trials} settings and {seeds} seeds, which take at least {least:,.0f} {unit}; "
            "give more, or fewer --methods, --trials or --seeds"
        )
    return SearchPlan(low, trials, seeds)


def _cost(plan: SearchPlan, arms: int, step: float, reading: float) -> float:
    return arms * (plan.arm_steps * step + plan.arm_readings * reading)
