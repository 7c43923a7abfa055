"""Which metric tells systems apart: how far systems differ against how far one differs from itself.

Idea: a metric is worth as much as its signal (the spread of systems) is above its noise (the spread of one system that was trained
again, or measured a few steps later). Runs with other seeds tell the noise; where there are none and systems are checkpoints in order,
how far each lies from the line between its neighbours does.
When to use it: before choosing what to decide by.
What goes wrong: of a few runs the noise is known within a factor of two; a curve that bends between checkpoints looks like noise.
Source: signal and noise of benchmarks, Heineman et al. (2025); second differences, von Neumann (1941).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pliant.comparison.outcomes import Outcomes, System, over_runs
from pliant.statistics import Array

FEWEST = 5
"""Checkpoints from which on their neighbours tell a noise."""


@dataclass(frozen=True)
class Signal:
    """One metric of one task: standard deviations, in its own unit."""

    task: str
    metric: str
    signal: float
    noise: float
    noise_is: str

    @property
    def ratio(self) -> float:
        """How many times the signal is the noise."""
        return self.signal / self.noise


def signals(systems: Sequence[System], metric: str | None = None) -> list[Signal]:
    """Of every metric that all of three systems or more have, the clearest first. What has no noise, or none that is known, is left out."""
    if len(systems) < 3:
        return []
    shared = [key for key in systems[0].outcomes if metric in (None, key[1]) and all(key in system.outcomes for system in systems)]
    ordered = _in_order([system.name for system in systems])
    found = [_of(key, [system.outcomes[key] for system in systems], ordered) for key in shared]
    return sorted((one for one in found if one is not None), key=lambda one: -one.ratio)


def _of(key: tuple[str, str], outcomes: Sequence[Outcomes], ordered: bool) -> Signal | None:
    means = np.array([over_runs(one.grid.values).mean() for one in outcomes])
    runs = [np.nanmean(one.grid.values, axis=1) for one in outcomes if len(one.grid.values) > 1 and not one.sampled]
    if runs:
        freedom = [len(one) - 1 for one in runs]
        noise = float(np.sqrt(np.average([one.var(ddof=1) for one in runs], weights=freedom)))
        beyond = float(means.var(ddof=1)) - noise**2 * float(np.mean([1 / len(one.grid.values) for one in outcomes]))
        told = "what runs of one differ by"
    elif ordered and len(means) >= FEWEST:
        noise, beyond, told = _between_neighbours(means), float(means.var(ddof=1)), "what a checkpoint differs by from its neighbours"
    else:
        return None
    return Signal(*key, float(np.sqrt(max(beyond, 0.0))), noise, told) if noise > 0 else None


def _between_neighbours(means: Array) -> float:
    """The standard deviation around the line through either neighbour, without what they add to it."""
    return float(np.sqrt(np.mean(np.diff(means, 2) ** 2) / 6))


def _in_order(names: Sequence[str]) -> bool:
    """Whether the last numbers in the names rise, as those of checkpoints do."""
    numbers = [[int(digits) for digits in re.findall(r"\d+", name)[-1:]] for name in names]
    return all(numbers) and all(one < two for one, two in pairwise(numbers))
