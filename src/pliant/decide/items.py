"""How many items and runs it takes to see a difference of a given size.

Idea: the standard error of a paired difference falls with the square root of the items, down to what runs differ among themselves;
the difference is found with the wanted power once it is the sum of both quantiles' worth of standard errors. How much one item tells is
read off results: of two systems, as they are; of runs of one, as alike as its runs are; of a single run, as if the other system agreed
with it only by chance, which no real pair is as bad as.
What goes wrong: a single run is a bound, several times too large for a model and its quantized copy; give two systems like those to come.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from statistics import NormalDist
from typing import Any

import numpy as np

from pliant.comparison.compare import compared
from pliant.comparison.effect import effect
from pliant.comparison.files import read_systems
from pliant.comparison.outcomes import OVER_ALL, Outcomes, System, families_of, resolution
from pliant.errors import PliantError

MOST_RUNS = 1000


@dataclass(frozen=True)
class Spread:
    """What a difference varies by: per item, and per run of both systems (variances); None where there is one run only."""

    of_item: float
    of_run: float | None
    assumes: str


@dataclass(frozen=True)
class ItemsNeeded:
    """How many items, with how many runs of each system; and from where on a difference counts."""

    effect: float
    power: float
    false_alarm: float
    items: int | None
    runs: int
    threshold: float
    alternatives: Sequence[tuple[int, int]]
    """(runs, items) that do as well."""
    assumes: str

    def sentence(self) -> str:
        """The answer."""
        if self.items is None:
            return f"no number of items shows {self.effect:g} with {self.runs:,} runs of each system: runs differ too much"
        runs = "one run" if self.runs == 1 else f"{self.runs:,} runs"
        return (
            f"{self.items:,} items and {runs} of each system find a difference of {self.effect:g} {self.power:.0%} of the time; "
            f"one that is seen counts from {self.threshold:.4g} on ({self.false_alarm:.0%} false alarms)"
        )

    def json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {
            "question": "items",
            "answer": {"items": self.items, "seeds": self.runs, "threshold": self.threshold},
            "effect": self.effect,
            "power": self.power,
            "false_alarm": self.false_alarm,
            "assumes": self.assumes,
            "alternatives": [{"seeds": runs, "items": items} for runs, items in self.alternatives],
        }


def decide(addresses: Sequence[str], size: float, power: float = 0.8, false_alarm: float = 0.1, metric: str | None = None) -> ItemsNeeded:
    """How many items and runs show a difference of `size` with probability `power`, as results at `addresses` vary.

    Args:
        addresses: One system's results, or two systems'.
        size: The difference to be seen, in the metric's unit.
        power: The wanted probability of seeing it.
        false_alarm: Of calling real what is none.
        metric: Only this metric.

    Raises PliantError for sizes and probabilities that are none, and for results that cannot be read.
    """
    if not size > 0:
        raise PliantError(f"effect: {size:g} is no difference to look for; give one above 0")
    if not (0 < false_alarm < 1 and 0.5 <= power < 1):
        raise PliantError("power must be from 0.5 to below 1, and false-alarm between 0 and 1")
    systems = [system for address in addresses for system in read_systems(address)]
    if len(systems) > 2:
        raise PliantError(f"{addresses[0]}: holds {len(systems)} systems; choose one or two, as PATH#NAME")
    spread = _of_two(systems, metric) if len(systems) == 2 else _of_one(systems[0], metric)
    return needed(spread, size, power, false_alarm)


def needed(spread: Spread, size: float, power: float, false_alarm: float) -> ItemsNeeded:
    """The same, given what a difference varies by."""
    normal = NormalDist()
    threshold_errors = normal.inv_cdf(1 - false_alarm / 2)
    allowed = (size / (threshold_errors + normal.inv_cdf(power))) ** 2  # the largest variance of the difference
    options: list[tuple[int, int]] = []
    runs = 1
    while runs <= (MOST_RUNS if spread.of_run else 1):
        left = allowed - (spread.of_run or 0.0) / runs
        if left > 0:
            options.append((runs, ceil(spread.of_item / left)))
        runs *= 2
    if not options:
        return ItemsNeeded(size, power, false_alarm, None, runs // 2, float("nan"), (), spread.assumes)
    runs, items = min(options, key=lambda option: option[0] * option[1])
    threshold = threshold_errors * float(np.sqrt(spread.of_item / items + (spread.of_run or 0.0) / runs))
    return ItemsNeeded(size, power, false_alarm, items, runs, threshold, options, spread.assumes)


def _of_two(systems: Sequence[System], metric: str | None) -> Spread:
    found = next(row for row in reversed(compared(systems, metric=metric).rows) if row.task == OVER_ALL).effect
    beyond = max(0.0, found.of_runs - found.shared) * found.runs if found.runs > 1 else None
    return Spread(found.of_items * found.n, beyond, f"a difference varies as between {systems[0].name} and {systems[1].name}")


def _of_one(system: System, metric: str | None) -> Spread:
    key = next((key for key in system.outcomes if metric in (None, key[1])), None)
    if key is None:
        raise PliantError(f"{system.source}: holds nothing measured by {metric or 'any metric'}")
    outcomes = system.outcomes[key]
    values = outcomes.grid.values
    if len(values) > 1:
        return _of_runs(system, outcomes)
    families = families_of(outcomes, outcomes.grid.items)
    alone = effect(np.zeros_like(values), values, np.ones(values.shape[1]), families, resolution(values))
    told = f"the other system agrees with {system.name} on {key[0]} only by chance: a bound; give two systems for what a real pair needs"
    return Spread(2 * alone.of_items * alone.n, None, told)


def _of_runs(system: System, outcomes: Outcomes) -> Spread:
    """As between two runs of one system: what its answers do when nothing was changed."""
    grid = outcomes.grid
    half = len(grid.values) // 2
    families = families_of(outcomes, grid.items)
    parts = [grid.values[start : start + half] for start in (0, half)]
    found = effect(parts[0][:1], parts[1][:1], np.ones(len(grid.items)), families, resolution(grid.values))
    means = np.nanmean(grid.values, axis=1)
    noise = 0.0 if outcomes.sampled else max(0.0, 2 * float(np.var(means, ddof=1)) - found.of_items)
    return Spread(found.of_items * found.n, noise, f"a difference varies as between two runs of {system.name}")
