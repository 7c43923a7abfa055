"""Groups at scales where they can be compared: the one place that says what two groups have in common.

Idea: a group's runs are comparable with another's only at the same scale. Asked for a compute, a scale is a level of compute, and a
group stands there with its best run; asked for a run, it is one size and one number of tokens. Where groups were not measured at the
same levels of compute, each one's lower envelope is read off between its own levels, never beyond them.
What goes wrong: the largest run of each group is no common scale; groups that share no scale cannot be compared, and are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pliant.errors import PliantError
from pliant.statistics import Array

Scale = Literal["compute", "run"]
SAME = 0.03
"""Sizes, tokens and compute that differ by less are the same (relative): people round."""
STEP = np.log(2.0)
"""Levels that are read off envelopes lie at least so far apart."""
MOST_LEVELS = 24
"""Levels further away say nothing about the one asked for."""


@dataclass(frozen=True)
class GroupRuns:
    """A table of runs: `group` (rows,) as numbers into `names`; `compute` in FLOPs; `size`, `tokens` where they are known; `loss` > 0."""

    names: list[str]
    group: NDArray[np.intp]
    compute: Array
    loss: Array
    size: Array | None = None
    tokens: Array | None = None

    def chosen(self, rows: NDArray[np.bool_]) -> GroupRuns:
        """Those rows; the groups keep their numbers."""
        parts = (None if part is None else part[rows] for part in (self.size, self.tokens))
        return GroupRuns(self.names, self.group[rows], self.compute[rows], self.loss[rows], *parts)


@dataclass(frozen=True)
class Cells:
    """Log losses of `names` at common scales: `values` (groups, cells), NaN where a group was not measured.

    `position` (cells,) is the log of compute, rising. `repeats` (groups, cells) is how many runs are behind a value, `seed_sd` the
    standard deviation of log loss between runs that differ in nothing else (None: no run was repeated).
    """

    names: list[str]
    scale: Scale
    position: Array
    values: Array = field(repr=False)
    repeats: Array = field(repr=False)
    seed_sd: float | None = None
    runs: tuple[tuple[float, float], ...] = ()
    """Size and tokens of each cell, where a scale is a run."""
    interpolated: bool = False

    def chosen(self, cells: NDArray[np.intp]) -> Cells:
        """Those cells, and the groups measured at any of them."""
        there = np.flatnonzero(np.isfinite(self.values[:, cells]).any(axis=1))
        return replace(
            self,
            names=[self.names[group] for group in there],
            position=self.position[cells],
            values=self.values[there][:, cells],
            repeats=self.repeats[there][:, cells],
            runs=tuple(self.runs[cell] for cell in cells) if self.runs else (),
        )

    def near(self, target: float) -> Cells:
        """The cells that say most about a log compute: the nearest `MOST_LEVELS`."""
        nearest = np.argsort(np.abs(self.position - target), kind="stable")[:MOST_LEVELS]
        return self.chosen(np.sort(nearest))


def cells_of(runs: GroupRuns, scale: Scale) -> Cells:
    """The scales at which two groups or more can be compared. Raises PliantError where there are none."""
    runs, repeats, seed_sd = _averaged(runs)
    found = _same_runs(runs, repeats) if scale == "run" else _levels(runs, repeats)
    shared = np.isfinite(found.values).sum(axis=0) >= 2
    if not shared.any():
        raise PliantError(_apart(runs, scale))
    return replace(found, seed_sd=seed_sd).chosen(np.flatnonzero(shared))


def numbered(values: Array) -> NDArray[np.intp]:
    """Numbers from 0, rising with the values; those that follow each other within `SAME` share one."""
    order = np.argsort(values, kind="stable")
    steps = np.diff(np.log(values[order]), prepend=np.log(values[order[0]])) > SAME
    numbers = np.empty(len(values), np.intp)
    numbers[order] = np.cumsum(steps)
    return numbers


def _averaged(runs: GroupRuns) -> tuple[GroupRuns, Array, float | None]:
    """Repeats of a run (same group, size, tokens or else compute) as their mean, how many there were, and how far they lie apart."""
    scales = [runs.compute] if runs.size is None or runs.tokens is None else [runs.size, runs.tokens]
    keys = np.stack([runs.group, *(np.round(np.log(part) / 1e-6).astype(np.int64) for part in scales)])
    _, first, same, counts = np.unique(keys, axis=1, return_index=True, return_inverse=True, return_counts=True)
    same, loss = np.ravel(same), np.log(runs.loss)
    means = np.bincount(same, weights=loss) / counts
    freedom = len(loss) - len(counts)
    if runs.size is None and freedom:  # runs of one compute may differ in size: no repeats
        return runs, np.ones(len(loss)), None
    spread = float(np.sqrt(np.sum((loss - means[same]) ** 2) / freedom)) if freedom else None
    rows = np.zeros(len(loss), bool)
    rows[first] = True
    order = np.argsort(first)
    chosen = runs.chosen(rows)
    averaged = GroupRuns(chosen.names, chosen.group, chosen.compute, np.exp(means[order]), chosen.size, chosen.tokens)
    return averaged, counts[order].astype(float), spread


def _same_runs(runs: GroupRuns, repeats: Array) -> Cells:
    if runs.size is None or runs.tokens is None:
        raise PliantError("comparing the same run takes columns N and D (sizes and tokens); ask with --at compute=... instead")
    size, tokens = numbered(runs.size), numbered(runs.tokens)
    _, first, cell = np.unique(np.stack([size, tokens]), axis=1, return_index=True, return_inverse=True)
    order = np.argsort(runs.compute[first], kind="stable")
    place = np.argsort(order)[np.ravel(cell)]
    values, counts = _table(runs, place, repeats)
    where = [(float(runs.size[row]), float(runs.tokens[row])) for row in first[order]]
    return Cells(runs.names, "run", np.log(runs.compute[first[order]]), values, counts, runs=tuple(where))


def _levels(runs: GroupRuns, repeats: Array) -> Cells:
    """Each group's best run at every level of compute; read off envelopes where most levels belong to one group alone."""
    level = numbered(runs.compute)
    values, counts = _table(runs, level, repeats)
    position = np.array([np.median(np.log(runs.compute[level == number])) for number in range(level.max() + 1)])
    alone = np.isfinite(values).sum(axis=0) < 2
    if np.isfinite(values[:, alone]).sum() <= np.isfinite(values).sum() / 2:
        return Cells(runs.names, "compute", position, values, counts)
    return _envelopes(runs)


def _table(runs: GroupRuns, place: NDArray[np.intp], repeats: Array) -> tuple[Array, Array]:
    """The lowest log loss of each group at each place, and the repeats behind it."""
    values = np.full((len(runs.names), int(place.max()) + 1), np.nan)
    counts = np.ones_like(values)
    for row in np.argsort(-runs.loss, kind="stable"):
        values[runs.group[row], place[row]] = np.log(runs.loss[row])
        counts[runs.group[row], place[row]] = repeats[row]
    return values, counts


def _envelopes(runs: GroupRuns) -> Cells:
    curves = [_envelope(runs, group) for group in range(len(runs.names))]
    known = [curve for curve in curves if len(curve[0])]
    ends = np.sort(np.array([curve[0][-1] for curve in known]))[::-1]
    start = min(curve[0][0] for curve in known)
    spacing = [float(np.median(np.diff(curve[0]))) for curve in known if len(curve[0]) > 1]
    step = max(STEP, float(np.median(spacing)) if spacing else 0.0)
    top = ends[min(1, len(ends) - 1)]
    position = np.arange(top, start, -step)[: 2 * MOST_LEVELS][::-1] if top > start else np.array([top])
    values = np.full((len(runs.names), len(position)), np.nan)
    for group, (places, losses) in enumerate(curves):
        inside = (position >= places[0] - 1e-9) & (position <= places[-1] + 1e-9) if len(places) else np.zeros(len(position), bool)
        values[group, inside] = np.interp(position[inside], places, losses)
    return Cells(runs.names, "compute", position, values, np.ones_like(values), interpolated=True)


def _envelope(runs: GroupRuns, group: int) -> tuple[Array, Array]:
    """Log compute and log loss of the runs that are better than every cheaper one, and of the dearest level."""
    rows = np.flatnonzero(runs.group == group)
    rows = rows[np.lexsort((runs.loss[rows], runs.compute[rows]))]
    losses = np.log(runs.loss[rows])
    best = np.minimum.accumulate(losses) if len(rows) else losses
    kept = np.flatnonzero((losses <= best) & (np.diff(np.log(runs.compute[rows]), prepend=-np.inf) > 0))
    places, lowest = np.log(runs.compute[rows[kept]]), losses[kept]
    if len(rows) and np.log(runs.compute[rows[-1]]) > places[-1]:
        places, lowest = np.append(places, np.log(runs.compute[rows[-1]])), np.append(lowest, lowest[-1])
    return places, lowest


def _apart(runs: GroupRuns, scale: Scale) -> str:
    what = "at the same size and tokens" if scale == "run" else "over a common range of compute"
    remedy = "; ask with --at compute=... to compare each group's best" if scale == "run" else ""
    names: Sequence[str] = runs.names
    told = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
    return f"no two of the groups {told} were measured {what}, so they cannot be compared{remedy}"
