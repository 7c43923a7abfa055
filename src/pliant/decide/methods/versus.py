"""Two arms at equal target loss: how much more one has forgotten, paired by samples and seeds, with an interval.

The interval has three parts: which kept samples were read, which seeds were trained (both as in `pliant.comparison`), and which target
samples said that the target losses are equal: an error there moves each arm along its own path, by its slope.
Which settings were chosen is in none of them: equal methods with settings that chance chose differ for good. So a method forgets more
only where the whole interval lies beyond the margin, and the runs that chose its settings, in which a lucky choice looks better than it
is, say so, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from pliant.comparison.effect import Effect, effect
from pliant.comparison.sample_size import more_runs
from pliant.statistics import cluster_numbers, clustered_error

if TYPE_CHECKING:
    from pliant.decide.methods.ground import Half
    from pliant.decide.methods.path import Passing, TunedPath

Verdict = Literal["better", "worse", "equivalent", "undetermined"]


def difference(ours: Sequence[Passing], theirs: Sequence[Passing], half: Half, confidence: float) -> Effect:
    """How much more the second arm has forgotten than the first (nats/token), seed by seed, at one target loss."""
    a, b = (np.stack([one.rises for one in passings]) for passings in (ours, theirs))
    found = effect(a, b, half.keep.weights, cluster_numbers(half.keep.clusters), 0.0, same_runs=True, confidence=confidence)
    moved = np.mean([one.slope * one.targets - two.slope * two.targets for one, two in zip(ours, theirs, strict=True)], axis=0)
    error = clustered_error(moved, half.target.weights, half.target.clusters)
    return replace(found, of_items=found.of_items + error**2)


def verdict(found: Effect, margin: float) -> Verdict:
    """Of the second arm against the first."""
    if -margin <= found.low and found.high <= margin:
        return "equivalent"
    return "worse" if found.low > margin else "better" if found.high < -margin else "undetermined"


def chosen_difference(ours: TunedPath, theirs: TunedPath, learned: float) -> float | None:
    """How much more the second of two runs has forgotten, where either has learned so much; None where one never has."""
    there = [path.passing(float(path.losses[0]) - learned) for path in (ours, theirs)]
    rises = [float(one.rises @ path.keep_weights / path.keep_weights.sum()) for one, path in zip(there, (ours, theirs), strict=True) if one]
    return rises[1] - rises[0] if len(rises) == 2 else None


def more_seeds(found: Effect, margin: float) -> int | None:
    """How many further seeds would decide, were the true difference the one seen; None where none would, or one seed tells nothing."""
    apart = abs(abs(found.value) - margin)  # from the nearer end of the margin, on either side of it
    return more_runs(replace(found, value=apart), 0.0)
