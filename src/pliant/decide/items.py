"""How many items and runs it takes to see a difference of a given size.

Idea: the standard error of a paired difference falls with the square root of the items, down to what runs differ among themselves;
the difference is found with the wanted power once it is the sum of both quantiles' worth of standard errors. How much one item tells is
read off results: of two systems, as they are; of runs of one, as alike as its runs are; of a single run, as if the other system agreed
with it only by chance, which no real pair is as bad as.
What goes wrong: a single run is a bound, several times too large for a model and its quantized copy; give two systems like those to come.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import isfinite
from typing import Any

import numpy as np

from pliant.comparison.compare import compared
from pliant.comparison.effect import effect
from pliant.comparison.files import read_systems
from pliant.comparison.outcomes import OVER_ALL, Outcomes, System, families_of, resolution
from pliant.comparison.row import Row
from pliant.comparison.sample_size import MOST, least
from pliant.errors import PliantError

MOST_RUNS = 1000
NEIGHBOURS = 20
"""Runs whose answers are compared with the next one's."""
RUNS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 50, 64, 80, 100, 128, 160, 200, 250, 320, 400, 500, 640, 800, 1000)
"""Numbers of runs that are tried, where runs differ."""


@dataclass(frozen=True)
class Spread:
    """What a difference varies by (variances)."""

    of_item: float
    """Per item, whatever the run."""
    of_run: float | None
    """Per run of both systems, whatever the item; None where there is one run only."""
    assumes: str
    of_answer: float = 0.0
    """Per item and run: what one answer adds, beyond both."""
    step: float = 0.0
    """What one item's difference moves in: 1 for right and wrong, 0 for measurements."""


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
    whole_runs: bool = False
    """Whether the results are of whole runs, so that items are not what to count."""

    def sentence(self) -> str:
        """The answer."""
        runs = "one run" if self.runs == 1 else f"{self.runs:,} runs"
        if not isfinite(self.threshold):
            why = "runs differ too much" if self.runs > 1 else f"more than {MOST:,} were needed"
            return f"no number of items shows {self.effect:g} with {runs} of each system: {why}"
        count = "" if self.items is None else f"{self.items:,} items and "
        return (
            f"{count}{runs} of each system find a difference of {self.effect:g} {self.power:.0%} of the time; "
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
    if not isfinite(size):
        raise PliantError(f"effect: {size:g} is no difference to look for")
    spread, unit, whole_runs = _of_two(systems, metric) if len(systems) == 2 else _of_one(systems[0], metric)
    if unit == "fraction" and size >= 1:
        raise PliantError(f"effect: fractions cannot differ by {size:g}; give one below 1, such as 0.01 for a point of a percentage")
    if not isfinite(spread.of_item):
        raise PliantError(f"{addresses[0]}: a single item, or a single family of items, does not tell how items vary")
    if spread.of_item + spread.of_answer == 0 and not spread.of_run:
        raise PliantError(f"{addresses[0]}: does not vary, so it does not tell how many items or runs are needed")
    return needed(spread, size, power, false_alarm, whole_runs)


def needed(spread: Spread, size: float, power: float, false_alarm: float, whole_runs: bool = False) -> ItemsNeeded:
    """The same, given what a difference varies by."""

    def threshold(items: int, runs: int) -> float:
        return (
            _quantiles(spread, items, runs, 1 - false_alarm / 2) + spread.step / items / 2
        )  # what moves in steps reaches it by half a one

    def enough(items: int, runs: int) -> bool:
        return threshold(items, runs) + _quantiles(spread, items, runs, power) <= size

    if whole_runs:
        count = next((runs for runs in range(2, MOST_RUNS + 1) if enough(MOST, runs)), None)
        limit = threshold(MOST, count) if count else float("nan")
        return ItemsNeeded(size, power, false_alarm, None, count or MOST_RUNS, limit, (), spread.assumes, whole_runs=True)
    options: list[tuple[int, int]] = []
    for runs in RUNS if spread.of_run or spread.of_answer else RUNS[:1]:
        items = least(2, partial(_swapped, enough, runs))
        if items is not None and (not options or items < options[-1][1]):
            options.append((runs, items))
    if not options:
        return ItemsNeeded(size, power, false_alarm, None, MOST_RUNS if spread.of_run else 1, float("nan"), (), spread.assumes)
    runs, items = min(options, key=lambda option: option[0] * option[1])
    return ItemsNeeded(size, power, false_alarm, items, runs, threshold(items, runs), options, spread.assumes)


def _swapped(enough: Callable[[int, int], bool], runs: int, items: int) -> bool:
    return enough(items, runs)


def _quantiles(spread: Spread, items: int, runs: int, probability: float) -> float:
    """Student's quantile of the difference. One run's share is known from elsewhere; of several it is measured again."""
    from scipy import special

    of_items, of_runs = (spread.of_item + spread.of_answer / runs) / items, (spread.of_run or 0.0) / runs
    held = of_items**2 / (items - 1) + (of_runs**2 / (2 * (runs - 1)) if runs > 1 else 0.0)
    variance = of_items + of_runs
    freedom = min(variance**2 / held, 1e9) if held > 0 else 1e9
    return float(special.stdtrit(freedom, probability)) * float(np.sqrt(variance))


def _of_two(systems: Sequence[System], metric: str | None) -> tuple[Spread, str, bool]:
    last = [row for row in compared(systems, metric=metric).rows if row.task == OVER_ALL]
    if len(last) > 1:
        told = ", ".join(f"{row.metric} ({row.unit or 'no unit'})" for row in last)
        raise PliantError(f"{systems[0].source}: was measured in several units, {told}; say which with --metric")
    row, found = last[0], last[0].effect
    beyond = max(0.0, found.of_runs - found.shared) * found.runs if found.runs > 1 else None
    told = f"a difference in {_named(row)} varies as between {systems[0].name} and {systems[1].name}"
    if row.whole_runs and found.of_runs:
        return Spread(0.0, beyond, told), row.unit, True
    answers = min(found.shared, found.of_items)
    step = 1.0 if row.items_in == 1 and all(_right_or_wrong(system, row.metric) for system in systems) else 0.0
    spread = Spread((found.of_items - answers) * found.n, beyond, told, answers * found.n * found.runs, step)
    return spread, row.unit, False


def _right_or_wrong(system: System, metric: str) -> bool:
    return all(one.binary and not len(one.repeats) for (_, name), one in system.outcomes.items() if name == metric)


def _named(row: Row) -> str:
    return row.metric if row.items_in == 1 else f"{row.metric} over {row.items_in} tasks"


def _of_one(system: System, metric: str | None) -> tuple[Spread, str, bool]:
    key = next((key for key in system.outcomes if metric in (None, key[1])), None)
    if key is None:
        raise PliantError(f"{system.source}: holds nothing measured by {metric or 'any metric'}")
    outcomes = system.outcomes[key]
    values = outcomes.grid.values
    if outcomes.totals and len(values) > 1:
        told = f"a difference varies as between two runs of {system.name} on {key[0]} ({key[1]})"
        return Spread(0.0, 2 * float(np.var(values[:, 0], ddof=1)), told), outcomes.unit, True
    if len(values) > 1:
        return _of_runs(system, outcomes), outcomes.unit, False
    families = families_of(outcomes, outcomes.grid.items)
    alone = effect(np.zeros_like(values), values, np.ones(values.shape[1]), families, resolution(values))
    told = f"the other system agrees with {system.name} on {key[0]} only by chance: a bound; give two systems for what a real pair needs"
    return Spread(2 * alone.of_items * alone.n, None, told, step=float(outcomes.binary)), outcomes.unit, False


def _of_runs(system: System, outcomes: Outcomes) -> Spread:
    """As between two runs of one system: what its answers do when nothing was changed, over neighbouring runs."""
    grid = outcomes.grid
    families = families_of(outcomes, grid.items)
    whole = np.isfinite(grid.values).all(axis=0)
    if not whole.any():
        raise PliantError(f"{system.source}: no item has an answer in every one of {len(grid.values)} samples")
    values, families = grid.values[:, whole], np.unique(families[whole], return_inverse=True)[1]
    step, weights = resolution(values), np.ones(int(whole.sum()))
    found = [effect(one[None], two[None], weights, families, step) for one, two in pairwise(values[:NEIGHBOURS])]
    of_items = float(np.mean([one.of_items for one in found]))
    noise = 0.0 if outcomes.sampled else max(0.0, 2 * float(np.var(values.mean(axis=1), ddof=1)) - of_items)
    told = f"a difference varies as between two runs of {system.name} on {outcomes.task} ({outcomes.metric})"
    return Spread(0.0, noise, told, of_items * len(weights), float(outcomes.binary))
