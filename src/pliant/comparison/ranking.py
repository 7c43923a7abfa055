"""Which ranks several systems may have, over all tasks that every one of them has: groups of ties instead of a ranking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pliant.comparison.many import rank_intervals
from pliant.comparison.outcomes import OVER_ALL, Outcomes, System, families_of, over_runs
from pliant.comparison.row import Row
from pliant.statistics import Array


@dataclass(frozen=True)
class Standing:
    """The mean of each system over tasks, and how these means vary together."""

    means: Array
    covariance: Array
    freedom: float


def ranked(rows: Sequence[Row], systems: Sequence[System], metric: str | None, confidence: float) -> list[Row]:
    """The rows, those over all tasks with the ranks of their systems where these can be told."""
    keys = _shared(systems, metric)
    keys = [key for key in keys if not any(system.outcomes[key].nameless for system in systems)]
    told = [_of_task([system.outcomes[key] for system in systems]) for key in keys]
    found = [one for one in told if one is not None]
    if not found:
        return list(rows)
    higher = systems[0].outcomes[keys[0]].better == "higher"
    means, covariance = (np.sum([getattr(one, name) for one in found], axis=0) for name in ("means", "covariance"))
    freedom = sum(one.freedom for one in found)
    intervals = rank_intervals(means / len(found), covariance / len(found) ** 2, higher, freedom, confidence)
    ranks = dict(zip((system.name for system in systems), intervals, strict=True))
    last = max((place for place, row in enumerate(rows) if row.task == OVER_ALL), default=None)
    unit = rows[last].unit if last is not None else ""
    return [replace(row, ranks=(ranks[row.a], ranks[row.b])) if row.task == OVER_ALL and row.unit == unit else row for row in rows]


def _shared(systems: Sequence[System], metric: str | None) -> list[tuple[str, str]]:
    """The first metric of each task that all systems have, of the unit and direction that most tasks share."""
    keys: dict[str, tuple[str, str]] = {}
    for key in systems[0].outcomes:
        if metric in (None, key[1]) and all(key in system.outcomes for system in systems):
            keys.setdefault(key[0], key)
    kinds: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for key in keys.values():
        told = systems[0].outcomes[key]
        kinds.setdefault((told.unit, told.better), []).append(key)
    return max(kinds.values(), key=len, default=[])


def _of_task(outcomes: Sequence[Outcomes]) -> Standing | None:
    """Of one task, on the items that all have; None where those are fewer than two families."""
    grids = [one.grid for one in outcomes]
    if all(one.totals for one in outcomes):
        return _of_whole_runs([grid.values[:, 0] for grid in grids])
    items = grids[0].items
    if any(grid.items != items for grid in grids):
        shared = set[str].intersection(*(set(grid.items) for grid in grids))
        items = [item for item in items if item in shared]
    families = families_of(outcomes[0], items)
    if not items or families.max() < 1:
        return None
    table, runs = np.zeros((len(grids), len(items))), np.zeros(len(grids))
    for number, (one, grid) in enumerate(zip(outcomes, grids, strict=True)):
        place = {} if grid.items == items else {item: column for column, item in enumerate(grid.items)}
        values = grid.values[:, [place[item] for item in items]] if place else grid.values
        table[number] = over_runs(values)
        if len(values) > 1 and not one.sampled:
            runs[number] = np.var(values.mean(axis=1), ddof=1) / len(values)
    centred = table - table.mean(axis=1, keepdims=True)
    sums = np.stack([np.bincount(families, row) for row in centred]) / len(items)
    groups = sums.shape[1]
    return Standing(table.mean(axis=1), groups / (groups - 1) * sums @ sums.T + np.diag(runs), groups - 1.0)


def _of_whole_runs(runs: Sequence[Array]) -> Standing | None:
    """Of results of runs: few runs tell little of their own spread, so all systems' tell it together."""
    freedom = sum(len(one) - 1 for one in runs)
    if not freedom:
        return None
    spread = sum(float(((one - one.mean()) ** 2).sum()) for one in runs) / freedom
    return Standing(np.array([one.mean() for one in runs]), np.diag([spread / len(one) for one in runs]), float(freedom))
