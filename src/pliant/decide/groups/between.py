"""Which of several groups of runs (recipes, corpora, architectures, learning rates) is better at a scale.

Idea: groups are ranked at the largest scale that they have in common, since on published tables nothing chooses better: not laws fitted
to each group, not trends. What a decision adds is how sure that is (`drift`: how gaps move with scale), what a wrong choice costs,
which groups cannot be told apart, and which run would tell. A trend replaces the ranking only where it earned that on this table's own
larger scales (`record`).
When to use it: before the large run, with the small runs of each candidate at common sizes and tokens, or common compute.
Cost: a quarter of a second for ten groups, seconds for thousands.
What goes wrong: a group whose small runs were tuned worse than its large one will be; a target far beyond a short range of scales.
Source: pliant's own; rolling origins over published tables, docs/decide-between.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pliant.decide.groups.answer import GroupDecision, GroupEvidence, RankedGroup, some
from pliant.decide.groups.cells import SAME, Cells, cells_of
from pliant.decide.groups.chances import best, quantiles
from pliant.decide.groups.drift import Outlook, deviations, last_seen, outlook
from pliant.decide.groups.level import level
from pliant.decide.groups.record import own_record
from pliant.decide.groups.scale import kind_of, place_of, written
from pliant.decide.groups.settle import candidates, next_run
from pliant.decide.groups.table import runs_by_group
from pliant.statistics import Array

SURE, TOGETHER = 0.7, 0.9
"""From which probability of being best a group is the answer; and that of the smallest set of groups that are said to be tied."""
LAPSE = 0.02
"""What no gap says beforehand: the share of cases in which any group may be the best."""
FAR = 100.0
"""Steps in compute beyond which hardly any published table can be asked."""


def decide(
    table: Any,
    by: str,
    at: Mapping[str, float],
    columns: Mapping[str, str] | None = None,
    where: str | None = None,
    unit: str | None = None,
) -> GroupDecision:
    """The best of the groups that column `by` names, at `{"compute": FLOPs}` (each group's best run) or `{"N": ..., "D": ...}`.

    Args:
        table: Anything that `pliant.laws.fit` reads: a file, a data frame, a mapping of arrays.
        by: The column that names each run's group.
        at: The scale asked for.
        columns: Where N, D, loss and compute are, by name or as SQL; compute is 6 N D where it is not given. Lower losses are better:
            of an accuracy give `loss="1 - accuracy"`.
        where: SQL condition that chooses rows.
        unit: `bits` converts losses to nats.

    Raises PliantError for what cannot be answered: one group, no common scale, a scale below the data, columns that are not there.
    """
    scale = kind_of(at)
    runs, remarks = runs_by_group(table, by, columns, where, unit)
    whole = cells_of(runs, scale)
    target = place_of(at, whole)
    cells = whole.near(target)
    variance = 0.0 if cells.seed_sd is None else cells.seed_sd**2 / cells.repeats
    places = candidates(float(cells.position[-1]), target)
    found = outlook(cells.values, cells.position, np.array([target, *places]), variance)
    record = own_record(cells.values, cells.position, variance)
    trend = found.weight @ found.mean[:, :, 0]
    ranks = _ranks(cells, target, trend)
    led = record.earned and target > cells.position[-1] + SAME
    order = np.lexsort((trend, trend if led else ranks))
    chosen = int(order[0])
    chance, excess = best(found.mean[:, :, 0], found.spread(), found.weight)
    chance = (1 - LAPSE) * chance + LAPSE / len(chance)
    rival = int(np.argmax(np.where(np.arange(len(chance)) == chosen, -1.0, chance)))
    losses = _losses(cells, found, at, target)
    answered, agree = bool(chance[chosen] >= SURE), int(np.argmin(trend)) == int(np.argmin(ranks))
    return GroupDecision(
        question=f"which {by} is best at {written(at)}",
        answer=cells.names[chosen],
        verdict="answered" if answered else "undetermined",
        probability=float(chance[chosen]),
        regret=float(losses[1][chosen] * -np.expm1(-excess[chosen])),
        ranking=[RankedGroup(cells.names[group], *_row(losses, group), float(chance[group])) for group in order],
        method="both" if agree else "law" if led else "ranking",
        audit=record,
        next=None if chance[chosen] >= TOGETHER else next_run(found, cells.names, (chosen, rival), places),
        ties=[] if answered else [cells.names[group] for group in _together(chance, chosen)],
        evidence=_evidence(cells, target, chosen, rival),
        caveats=[*_caveats(cells, runs.names, target), *([] if agree else [_disagreement(cells, trend, led)]), *remarks],
    )


def _ranks(cells: Cells, target: float, trend: Array) -> Array:
    """Deviations at the largest common scale, or inside the data at the nearest one."""
    own = deviations(cells.values)
    if target >= cells.position[-1]:
        return last_seen(own, cells.position)
    there = own[:, int(np.argmin(np.abs(cells.position - target)))]
    return np.where(np.isfinite(there), there, trend)


def _together(chance: Array, chosen: int) -> list[int]:
    """The chosen group and the likeliest others, until the best is among them at 90%."""
    likely = [int(group) for group in np.argsort(-chance, kind="stable") if group != chosen]
    total = chance[chosen] + np.cumsum(chance[likely])
    return [chosen, *likely[: int(np.searchsorted(total, TOGETHER)) + 1]]


def _losses(cells: Cells, found: Outlook, at: Mapping[str, float], target: float) -> tuple[Array, Array, Array]:
    """Low end, middle and high end of each group's loss at the scale: what all share, and the group's own on top."""
    shared = np.nanmean(cells.values - deviations(cells.values), axis=0)
    scales = np.array(cells.runs) if cells.runs else np.exp(cells.position)[:, None]
    asked = np.array([at["N"], at["D"]]) if cells.runs else np.array([at["compute"]])
    middle, half = level(scales, shared, cells.position, asked, target - float(cells.position[-1]))
    low, value, high = quantiles(found.mean[:, :, 0], found.spread(), found.weight)
    down, up = np.hypot(half, value - low), np.hypot(half, high - value)
    return np.exp(middle + value - down), np.exp(middle + value), np.exp(middle + value + up)


def _row(losses: tuple[Array, Array, Array], group: NDArray[np.intp] | int) -> tuple[float, float, float]:
    """Value, low end, high end."""
    low, value, high = (float(part[group]) for part in losses)
    return value, low, high


def _evidence(cells: Cells, target: float, chosen: int, rival: int) -> GroupEvidence:
    own = last_seen(deviations(cells.values), cells.position)
    last = float(cells.position[-1])
    return GroupEvidence(
        scale=cells.scale,
        common_scales=len(cells.position),
        largest_common_compute=float(np.exp(last)),
        distance=float(np.exp(max(0.0, target - last))),
        rival=cells.names[rival],
        lead=float(np.expm1(own[rival] - own[chosen])),
        seed_sd=cells.seed_sd,
        interpolated=cells.interpolated,
    )


def _disagreement(cells: Cells, trend: Array, led: bool) -> str:
    why = "and it was right on this table's own larger scales" if led else "but a trend has not earned belief on this table"
    return f"the trend of the gaps leads to {cells.names[int(np.argmin(trend))]}, {why}"


def _caveats(cells: Cells, names: Sequence[str], target: float) -> list[str]:
    found, step = list[str](), target - float(cells.position[-1])
    if len(cells.position) == 1:
        found.append("one common scale only: how gaps move with scale is taken from other tables")
    if step > np.log(FAR):
        found.append(f"the question lies {np.exp(step):.3g} times beyond the largest common scale, where published tables hardly reach")
    behind = [name for name, row in zip(cells.names, cells.values, strict=True) if not np.isfinite(row[-1])]
    if behind:
        found.append(f"not measured at the largest common scale, and judged from smaller ones: {some(behind)}")
    if left := sorted(set(names) - set(cells.names)):
        found.append(f"left out, having no scale in common with others near the one asked for: {some(left)}")
    if cells.interpolated:
        found.append("groups were measured at different compute: losses are read off between each one's own runs")
    return found
