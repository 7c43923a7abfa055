"""What this table says itself of choosing by rank and choosing by trend: both are tried at its earlier scales, on its later ones.

Idea: stop at a common scale, choose the better of every two groups there by their last gap and by where their trends lead, and look
at the larger scales that were measured. The trend replaces the ranking only where it earned that here: the two disagreed often enough,
at several origins, and it was right in most cases. Anywhere else nothing that was tried beats ranking at the largest common scale.
What goes wrong: origins of one table are not independent, and the earliest are far from the question; so the bar is high.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr

from pliant.decide.groups.drift import LEARNED, Constants, deviations, last_seen, outlook
from pliant.statistics import Array

ORIGINS, GROUPS = 8, 30
"""How many earlier scales are stopped at, and how many groups are compared, at most."""
ENOUGH, MOSTLY, SEVERAL = 3, 0.6, 2
"""A trend has earned belief where it differed so often, was right in such a share of those, and at so many origins."""


@dataclass(frozen=True)
class OwnRecord:
    """Pairs of groups judged at an earlier scale and seen at a later one, over all earlier scales."""

    origins: int = 0
    pairs: int = 0
    ranking_right: float = 0.0
    law_right: float = 0.0
    said: float = 0.0
    """Mean probability that was given to the choice by rank."""
    differed: int = 0
    """Pairs in which trend and rank disagreed,"""
    law_right_there: float = 0.0
    """and the share of them in which the trend was right."""
    earned: bool = False
    farthest: float = 1.0
    """The largest step in compute that was tried, as a factor."""

    def json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def own_record(values: Array, position: Array, variance: Array | float = 0.0, constants: Constants = LEARNED) -> OwnRecord:
    """The record of a table's log losses (groups, cells) at common scales; see `outlook` for the arguments."""
    chosen = np.argsort(last_seen(deviations(values), position), kind="stable")[:GROUPS]
    values, known = values[chosen], np.broadcast_to(np.asarray(variance, float), values.shape)[chosen]
    cells = values.shape[1]
    stops = np.unique(np.linspace(1, cells - 1, ORIGINS).round().astype(int)) if cells > 1 else []
    judged = [_judged(values, position, known, int(stop), constants) for stop in stops]
    judged = [found for found in judged if len(found)]
    if not judged:
        return OwnRecord()
    origin = np.repeat(np.arange(len(judged)), [len(found) for found in judged])
    right, trend_right, said, differs, distance = np.concatenate(judged).T
    where = differs > 0
    won = float(trend_right[where].mean()) if where.any() else 0.0
    better = np.unique(origin[where & (trend_right > 0)])
    return OwnRecord(
        origins=len(judged),
        pairs=len(right),
        ranking_right=float(right.mean()),
        law_right=float(trend_right.mean()),
        said=float(said.mean()),
        differed=int(where.sum()),
        law_right_there=won,
        earned=bool(where.sum() >= ENOUGH and won >= MOSTLY and len(better) >= SEVERAL),
        farthest=float(np.exp(distance.max())),
    )


def _judged(values: Array, position: Array, known: Array, stop: int, constants: Constants) -> Array:
    """(pairs, 5): was the rank right, was the trend, what was said of the rank, did the two differ, and how far it was."""
    there = np.isfinite(values[:, :stop]).any(axis=1)
    before = values[there][:, :stop]
    shared = np.isfinite(before).sum(axis=0) >= 2
    there_shared = np.isfinite(before[:, shared]).any(axis=1) if shared.any() else np.zeros(len(before), bool)
    if there_shared.sum() < 2:
        return np.zeros((0, 5))
    before, later = before[there_shared][:, shared], values[there][there_shared][:, stop:]
    found = outlook(before, position[:stop][shared], position[stop:], known[there][there_shared][:, :stop][:, shared], constants)
    last, trend = last_seen(deviations(before), position[:stop][shared]), np.einsum("s,sgt->gt", found.weight, found.mean)
    one, other = np.triu_indices(len(before), 1)
    rows = list[Array]()
    for target in range(later.shape[1]):
        gap = later[one, target] - later[other, target]
        seen = np.isfinite(gap) & (gap != 0)
        first, second, gap = one[seen], other[seen], gap[seen]
        ranked = np.where(last[first] <= last[second], -1.0, 1.0)
        led = np.where(trend[first, target] <= trend[second, target], -1.0, 1.0)
        spread = found.spread(target)
        apart = (found.mean[:, second, target] - found.mean[:, first, target]) / np.hypot(spread[:, first], spread[:, second])
        said = found.weight @ ndtr(-ranked * apart)
        far = np.full(len(gap), position[stop + target] - position[stop - 1])
        rows.append(np.stack([ranked * gap > 0, led * gap > 0, said, ranked != led, far], axis=1))
    return np.concatenate(rows) if rows else np.zeros((0, 5))
