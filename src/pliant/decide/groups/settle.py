"""Which further run would settle a choice between groups.

Idea: measure the leaders once more at a larger common scale. What that takes off the doubt about the scale asked for, and so how sure
the choice would then be, follows from how gaps move, before anything is run. The cheapest scale that would make it sure enough is it.
What goes wrong: it knows nothing of a regime that changes in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr

from pliant.decide.groups.drift import Outlook
from pliant.statistics import Array

SURE = 0.9
STEPS = (2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""Scales that are looked at, in compute over the last common one."""


@dataclass(frozen=True)
class NextRun:
    """A run of each of `groups` at `compute` FLOPs, and how sure the choice between them would then be on average."""

    groups: list[str]
    compute: float
    probability: float
    settles: bool
    """Whether that is 90% or more."""

    def json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def candidates(last: float, target: float) -> Array:
    """Log compute of the scales worth a run before the one asked for: from the last common one on, which can also be measured again."""
    return np.array([last, *(last + np.log(step) for step in STEPS if last + np.log(step) < target - 0.3)])


def next_run(found: Outlook, names: Sequence[str], pair: tuple[int, int], places: Array) -> NextRun | None:
    """The cheapest of `places` that makes the choice of the pair sure, else the one that helps most; None where none helps.

    `found` looks at the target first and at `places` after it.
    """
    one, other = pair
    gap = found.mean[:, other, 0] - found.mean[:, one, 0]
    joint = found.covariance[:, one] + found.covariance[:, other]
    sure = np.array([_sure(gap, joint, found, place + 1) for place in range(len(places))])
    now = float(found.weight @ np.maximum(*_both(gap, joint[:, 0, 0] + 2 * found.noise**2)))
    enough = np.flatnonzero(sure >= SURE)
    chosen = int(enough[0]) if len(enough) else int(np.argmax(sure - 0.002 * np.arange(len(sure))))
    if sure[chosen] <= now + 1e-3:
        return None
    return NextRun([names[one], names[other]], float(np.exp(places[chosen])), float(sure[chosen]), bool(len(enough)))


def _both(gap: Array, variance: Array) -> tuple[Array, Array]:
    chance = ndtr(gap / np.sqrt(np.maximum(variance, 1e-24)))
    return chance, 1 - chance


def _sure(gap: Array, joint: Array, found: Outlook, place: int) -> float:
    """Mean probability of the better choice once the pair's gap at `place` is known, up to the errors of one run each."""
    error = 2 * found.noise**2
    learned = joint[:, 0, place] ** 2 / np.maximum(joint[:, place, place] + error, 1e-24)
    left = np.maximum(joint[:, 0, 0] - learned, 0) + error
    nodes, weights = np.polynomial.hermite_e.hermegauss(21)
    outcomes = gap[:, None] + np.sqrt(learned)[:, None] * nodes
    chance = np.maximum(*_both(outcomes, left[:, None]))
    return float(found.weight @ (chance @ weights) / weights.sum())
