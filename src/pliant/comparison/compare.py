"""Comparing systems by what they did on the same items: real, tied, or how many more.

Idea: every system is compared with the first, task by task and over all tasks, item by item (`paired`, `effect`). What pairs, what
does not, and whatever else is unlike, is said beside the answer. No model is loaded.
Cost: reading the files; a hundred tasks of a thousand items and twenty systems take some seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pliant.comparison.effect import Effect, effect
from pliant.comparison.files import read_systems
from pliant.comparison.many import false_discovery, shrunken
from pliant.comparison.outcomes import OVER_ALL, System
from pliant.comparison.over_all import over_all
from pliant.comparison.page import fragment
from pliant.comparison.paired import Paired, paired
from pliant.comparison.ranking import ranked
from pliant.comparison.row import Flip, Row
from pliant.comparison.signal import Signal, signals
from pliant.comparison.significance import probability
from pliant.comparison.words import lines, number
from pliant.errors import PliantError
from pliant.statistics import student

MARGIN = 0.005
"""Differences up to this are none, unless told otherwise: half a point of an accuracy."""
EXAMPLES = 5
"""Flips that are shown."""


@dataclass(frozen=True)
class Comparison:
    """The answers of a comparison: `rows`, those over all tasks last."""

    systems: Sequence[str]
    rows: Sequence[Row]
    notes: Sequence[str]
    signals: Sequence[Signal] = ()
    """Of three systems or more: how well each metric tells them apart."""

    def json(self) -> list[dict[str, Any]]:
        """As `pliant compare --json` prints it."""
        return [row.json() for row in self.rows]

    def __repr__(self) -> str:
        return "\n".join(lines(self.rows, self.notes, self.signals))

    def _repr_html_(self) -> str:
        return fragment(self.rows, self.notes, self.signals)


def compare(*addresses: str | Path | System, margin: float = MARGIN, metric: str | None = None, confidence: float = 0.9) -> Comparison:
    """Every further system against the first, whoever measured them: real, tied, or how many more.

    Args:
        addresses: lm-eval's output folders, Inspect logs, ledgers, tables (CSV, JSONL, Parquet): `PATH`, or `PATH#NAME` for one of
            several systems in it; or `System`s.
        margin: Differences up to so much, in the metric's unit, are none.
        metric: Only this metric.
        confidence: Of the intervals.

    Raises PliantError for files that cannot be read, and where nothing can be compared.
    """
    systems: list[System] = []
    for address in addresses:
        found = [address] if isinstance(address, System) else read_systems(str(address))
        systems += [replace(found[0], source=str(address))] if len(found) == 1 else found  # as it was called by who asks
    return compared(systems, margin, metric, confidence)


def compared(systems: Sequence[System], margin: float = MARGIN, metric: str | None = None, confidence: float = 0.9) -> Comparison:
    """Every further system against the first.

    Args:
        systems: At least two.
        margin: Differences up to so much, in the metric's unit, are none.
        metric: Only this metric; all that both have where not given.
        confidence: Of the intervals; a difference is real where the false-discovery rate is at most one minus it.

    Raises PliantError for fewer than two systems, two of one name, and where nothing can be compared.
    """
    if not 0 <= margin < np.inf:
        raise PliantError(f"margin: {margin:g} is none; give a number from 0 on, in the metric's unit")
    systems = _named(systems)
    first, *others = systems
    rows: list[Row] = []
    notes = [note for system in systems for note in system.notes]
    for other in others:
        pairs, missing = _pairs(first, other, metric)
        notes += missing
        found = [(pair, _effect(pair, confidence)) for pair in pairs]
        one_each = [_row(pair, told, first.name, other.name, margin) for pair, told in found]
        one_each = [replace(row, notes=[*row.notes, *_as_totals(row, first, other, confidence)]) for row in one_each]
        rows += _drawn_together(one_each, confidence)
        rows += over_all([(pair, row) for (pair, _), row in zip(found, one_each, strict=True)], confidence)
    rows = _against_chance(rows)
    if len(others) > 1:
        rows = ranked(rows, systems, metric, confidence)
    rows.sort(key=lambda row: row.task == OVER_ALL)  # those over all last, otherwise as they came
    return Comparison([system.name for system in systems], rows, list(dict.fromkeys(notes)), signals(systems, metric))


def _named(systems: Sequence[System]) -> list[System]:
    if len(systems) < 2:
        raise PliantError("a comparison takes two systems or more: two files, or one that holds several")
    named = [replace(system, name=system.source) if _names(systems).count(system.name) > 1 else system for system in systems]
    if len(set(_names(named))) < len(named):
        raise PliantError(f"{named[0].source}: is given twice; a comparison takes different systems")
    return named


def _names(systems: Sequence[System]) -> list[str]:
    return [system.name for system in systems]


def _pairs(first: System, other: System, metric: str | None) -> tuple[list[Paired], list[str]]:
    """Every task and metric that both have, paired; and what only one of them has."""
    wanted = [key for key in first.outcomes if key in other.outcomes and metric in (None, key[1])]
    if not wanted:
        if empty := next((system for system in (first, other) if not system.outcomes), None):
            raise PliantError("; ".join([f"{empty.source}: holds no outcome", *empty.notes]))
        told = "; ".join(f"{system.name} has {_listed(system)}" for system in (first, other))
        asked = f" by {metric}" if metric else ""
        raise PliantError(f"no task was measured{asked} in both: {told}")
    names = first.name, other.name
    notes: list[str] = []
    for system, against in ((first, other), (other, first)):
        theirs = against.tasks()
        if lacking := [task for task in system.tasks() if task not in theirs]:
            more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
            notes.append(f"only {system.name} has {', '.join(lacking[:3])}{more}; left out")
    return [paired(first.outcomes[key], other.outcomes[key], names) for key in wanted], notes


def _listed(system: System) -> str:
    keys = [f"{task} ({metric})" for task, metric in system.outcomes]
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")


def _effect(pair: Paired, confidence: float) -> Effect:
    return effect(pair.a, pair.b, pair.weights, pair.families, pair.step, pair.same_runs, pair.totals, confidence)


def _as_totals(row: Row, a: System, b: System, confidence: float) -> list[str]:
    """What the interval would be, had totals paired as well as they can."""
    if row.lost is not None:
        return []
    pair = paired(a.outcomes[row.task, row.metric], b.outcomes[row.task, row.metric], (a.name, b.name), alike=True)
    least = _effect(pair, confidence)
    told = f"{number(least.low, least.reach)} to {number(least.high, least.reach)}"
    return [f"totals only: this is the widest interval there can be; had they erred on the same items it would be {told}"]


def _row(pair: Paired, found: Effect, a: str, b: str, margin: float) -> Row:
    sign = 1 if pair.better == "higher" else -1
    moved = pair.differences * sign
    largest = np.argsort(-np.abs(moved), kind="stable")[: 0 if pair.nameless or pair.totals else 2 * EXAMPLES]
    order = [int(place) for place in largest if moved[place]]
    means = pair.means
    share = pair.weights / pair.weights.sum()
    p = probability(found, pair.family_sums)
    return Row(
        task=pair.task,
        metric=pair.metric,
        a=a,
        b=b,
        unit=pair.unit,
        better="higher" if sign > 0 else "lower",
        a_value=float(means[0] @ share),
        b_value=float(means[1] @ share),
        effect=found,
        p=p,
        q=p,
        margin=margin,
        unpaired=pair.unpaired,
        lost=None if pair.nameless else int((moved < 0).sum()),
        won=None if pair.nameless else int((moved > 0).sum()),
        flips=[Flip(pair.items[n], float(means[0][n]), float(means[1][n]), pair.texts.get(pair.items[n], "")) for n in order],
        notes=[*pair.notes, *_warnings(pair, found)],
        noise=_noise(pair),
        whole_runs=pair.totals,
    )


def _warnings(pair: Paired, found: Effect) -> list[str]:
    notes: list[str] = []
    if found.heavy:
        notes.append(f"a tenth of the {found.n:,} items make most of the spread: the interval may be too short")
    if not np.isfinite(found.stderr):
        lone = "a single run of each says" if pair.totals else "a single item, or a single family of items, says"
        notes.append(f"{lone} nothing about others")
    elif pair.totals:
        notes.append("results of whole runs: the interval says how runs differ, and nothing of other items")
    elif pair.step == 0:
        notes.append("every value is the same: there is nothing to compare")
    return notes


def _noise(pair: Paired) -> float | None:
    """How much runs of one system differ among themselves, in their means."""
    share = pair.weights / pair.weights.sum()
    spreads = [float(np.var(rows @ share, ddof=1)) for rows in (pair.a, pair.b) if len(rows) > 1]
    return float(np.sqrt(np.mean(spreads))) if spreads else None


def _against_chance(rows: Sequence[Row]) -> list[Row]:
    """With q-values: over all tasks and systems that one metric compares, and over the systems that are compared over all tasks."""
    found = list(rows)
    kinds = [(row.task == OVER_ALL, row.unit, "" if row.task == OVER_ALL else row.metric) for row in rows]
    for kind in dict.fromkeys(kinds):
        places = [place for place, told in enumerate(kinds) if told == kind]
        for place, rate in zip(places, false_discovery([rows[place].p for place in places]), strict=True):
            found[place] = replace(rows[place], q=rate)
    return found


def _drawn_together(rows: list[Row], confidence: float) -> list[Row]:
    """With the differences of each metric drawn towards their mean over tasks."""
    found = list(rows)
    for metric in dict.fromkeys((row.metric, row.unit) for row in rows):
        places = [place for place, row in enumerate(rows) if (row.metric, row.unit) == metric]
        values, errors = (np.array([getattr(rows[place].effect, name) for place in places]) for name in ("value", "stderr"))
        drawn, spread, between = shrunken(values, errors)
        for place, value, error in zip(places, drawn, spread, strict=True):
            reach = student(1e9, confidence) * error
            shrunk = (float(value), float(value - reach), float(value + reach)) if np.isfinite(between) else None
            found[place] = replace(rows[place], shrunk=shrunk)
    return found
