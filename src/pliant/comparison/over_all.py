"""What several tasks say together: every task counts the same, whatever its number of items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pliant.comparison.effect import Effect, effect
from pliant.comparison.outcomes import OVER_ALL
from pliant.comparison.paired import Paired
from pliant.comparison.row import Row
from pliant.comparison.significance import student_p


def over_all(found: Sequence[tuple[Paired, Row]], confidence: float) -> list[Row]:
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
        return replace(rows[0], task=OVER_ALL, flips_of=rows[0].task)
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
        lost=_sum([row.lost for row in rows]),
        won=_sum([row.won for row in rows]),
        flips=(),
        notes=(),
        noise=float(np.mean(noises)) if noises else None,
        items_in=len(group),
        flips_of=max(rows, key=lambda row: len(row.flips)).task,
    )


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


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
