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
from pliant.comparison.page import fragment
from pliant.comparison.paired import Paired, paired
from pliant.comparison.ranking import ranked
from pliant.comparison.row import Flip, Row
from pliant.comparison.significance import probability, student_p
from pliant.comparison.words import lines
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

    def json(self) -> list[dict[str, Any]]:
        """As `pliant compare --json` prints it."""
        return [row.json() for row in self.rows]

    def __repr__(self) -> str:
        return "\n".join(lines(self.rows, self.notes))

    def _repr_html_(self) -> str:
        return fragment(self.rows, self.notes)


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
    systems = _named(systems)
    first, *others = systems
    rows: list[Row] = []
    notes = [note for system in systems for note in system.notes]
    for other in others:
        pairs, missing = _pairs(first, other, metric)
        notes += missing
        found = [
            (pair, effect(pair.a, pair.b, pair.weights, pair.families, pair.step, pair.same_runs, pair.totals, confidence))
            for pair in pairs
        ]
        one_each = [_row(pair, told, first.name, other.name, margin) for pair, told in found]
        rows += _against_chance(one_each, confidence)
        rows += _over_all([(pair, row) for (pair, _), row in zip(found, one_each, strict=True)], confidence)
    if len(others) > 1:
        rows = ranked(rows, systems, metric, confidence)
    rows.sort(key=lambda row: row.task == OVER_ALL)  # those over all last, otherwise as they came
    return Comparison([system.name for system in systems], rows, list(dict.fromkeys(notes)))


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


def _row(pair: Paired, found: Effect, a: str, b: str, margin: float) -> Row:
    sign = 1 if pair.better == "higher" else -1
    moved = pair.differences * sign
    order = [int(place) for place in np.argsort(-np.abs(moved), kind="stable")[: 2 * EXAMPLES] if moved[place]]
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
        lost=int((moved < 0).sum()),
        won=int((moved > 0).sum()),
        flips=[Flip(pair.items[n], float(means[0][n]), float(means[1][n]), pair.texts.get(pair.items[n], "")) for n in order],
        notes=[*pair.notes, *_warnings(pair, found)],
        noise=_noise(pair),
    )


def _warnings(pair: Paired, found: Effect) -> list[str]:
    notes: list[str] = []
    if found.heavy:
        notes.append(f"a tenth of the {found.n:,} items make most of the spread: the interval may be too short")
    if not np.isfinite(found.stderr):
        notes.append("a single item, or a single family of items, says nothing about others")
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


def _against_chance(rows: list[Row], confidence: float) -> list[Row]:
    """With q-values over the tasks of each metric, and differences drawn towards their mean."""
    found = list(rows)
    for metric in dict.fromkeys((row.metric, row.unit) for row in rows):
        places = [place for place, row in enumerate(rows) if (row.metric, row.unit) == metric]
        rates = false_discovery([rows[place].p for place in places])
        values, errors = (np.array([getattr(rows[place].effect, name) for place in places]) for name in ("value", "stderr"))
        drawn, spread, between = shrunken(values, errors)
        for place, rate, value, error in zip(places, rates, drawn, spread, strict=True):
            reach = student(1e9, confidence) * error
            shrunk = (float(value), float(value - reach), float(value + reach)) if np.isfinite(between) else None
            found[place] = replace(rows[place], q=rate, shrunk=shrunk)
    return found


def _over_all(found: Sequence[tuple[Paired, Row]], confidence: float) -> list[Row]:
    """One row for each unit and direction: every task counts the same, by the first of its metrics. The largest group comes last."""
    groups: dict[tuple[str, str], list[tuple[Paired, Row]]] = {}
    seen = set[str]()
    for pair, row in found:
        if pair.task not in seen:
            seen.add(pair.task)
            groups.setdefault((pair.unit, pair.better), []).append((pair, row))
    return [_mean(group, confidence) for group in sorted(groups.values(), key=len)]


def _mean(group: Sequence[tuple[Paired, Row]], confidence: float) -> Row:
    rows = [row for _, row in group]
    if len(group) == 1:
        return replace(rows[0], task=OVER_ALL)
    whole = _joint(group, confidence)
    metrics = list(dict.fromkeys(row.metric for row in rows))
    p = student_p(whole.value, whole.stderr, whole.freedom)
    noises = [row.noise for row in rows if row.noise is not None]
    return replace(
        rows[0],
        task=OVER_ALL,
        metric=metrics[0] if len(metrics) == 1 else "first metric of each task",
        a_value=float(np.mean([row.a_value for row in rows])),
        b_value=float(np.mean([row.b_value for row in rows])),
        effect=whole,
        p=p,
        q=p,
        unpaired=sum(row.unpaired for row in rows),
        lost=sum(row.lost for row in rows),
        won=sum(row.won for row in rows),
        flips=(),
        notes=(),
        noise=float(np.mean(noises)) if noises else None,
        items_in=len(group),
    )


def _joint(group: Sequence[tuple[Paired, Row]], confidence: float) -> Effect:
    """The mean over tasks: items of different tasks share nothing, runs of the same seeds do."""
    pairs = [pair for pair, _ in group]
    weights = np.concatenate([pair.weights / pair.weights.sum() for pair in pairs])
    starts = np.cumsum([0, *(int(pair.families.max()) + 1 for pair in pairs)])
    families = np.concatenate([pair.families + start for pair, start in zip(pairs, starts, strict=False)])
    step = min(pair.step for pair in pairs)
    runs = {(tuple(pair.a_runs), tuple(pair.b_runs), pair.same_runs) for pair in pairs}
    if len(runs) == 1:
        a, b = (np.concatenate([getattr(pair, side) for pair in pairs], axis=1) for side in ("a", "b"))
        return effect(a, b, weights, families, step, pairs[0].same_runs, all(pair.totals for pair in pairs), confidence)
    a, b = (np.concatenate([pair.means[side] for pair in pairs])[None] for side in (0, 1))
    of_runs = [row.effect for _, row in group if row.effect.of_runs]
    alone = effect(a, b, weights, families, step, confidence=confidence)
    if not of_runs:
        return alone
    parts = {name: sum(getattr(told, name) for told in of_runs) / len(group) ** 2 for name in ("of_runs", "shared")}
    return replace(alone, **parts, run_freedom=min(told.run_freedom for told in of_runs), runs=max(told.runs for told in of_runs))
