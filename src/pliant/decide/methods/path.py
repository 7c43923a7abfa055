"""What one run learns and forgets along its steps, and what it has forgotten at the moment it has learned so much.

Idea: a run that learns more forgets more, so methods are compared where they have the same target loss. Each run passes that loss between
two points that were read; between them target loss and kept loss are taken to move together on a straight line, the first time it does.
What goes wrong: points far apart, since the line lies above a bent curve; they are closer together at the beginning of a run.
Source: learning against forgetting at matched target loss, arXiv 2405.09673.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log2
from typing import TYPE_CHECKING, Protocol

from pliant.statistics import Array

if TYPE_CHECKING:
    from pliant.methods import Method

Advance = Callable[[float], None]
"""Is told of steps that were made."""


class Trial(Protocol):
    """One setting with one seed, which gives its path as far as it is asked."""

    @property
    def lr(self) -> float:
        """Peak learning rate."""
        ...

    @property
    def methods(self) -> tuple[Method, ...]:
        """How it trains."""
        ...

    def path(self, points: Sequence[int], advance: Advance) -> TunedPath:
        """What it learns and forgets along these points. Raises PliantError where it cannot run, or diverges."""
        ...

    def forget(self) -> None:
        """It will not go on."""
        ...


@dataclass(frozen=True, eq=False)
class TunedPath:
    """One run. Points are (0, ...) steps; the base is the first."""

    steps: tuple[int, ...]
    targets: Array
    """(points, samples) target loss of each sample, in its unit."""
    rises: Array
    """(points, samples) how much higher the loss of each kept sample is than the base's."""
    target_weights: Array
    keep_weights: Array

    @property
    def losses(self) -> Array:
        """(points,) mean target loss."""
        return self.targets @ self.target_weights / self.target_weights.sum()

    @property
    def forgotten(self) -> Array:
        """(points,) mean rise of the kept loss."""
        return self.rises @ self.keep_weights / self.keep_weights.sum()

    @property
    def least(self) -> float:
        """The lowest target loss on the way, the base's left out."""
        return float(self.losses[1:].min())

    def foreseen(self, steps: int) -> float:
        """The target loss after so many steps if it goes on falling as much with every doubling as with the last; never above now's."""
        losses, (before, now) = self.losses, self.steps[-2:]
        if before == 0 or now >= steps:
            return float(losses[-1])
        fall = float(losses[-2] - losses[-1]) / log2(now / before)
        return float(losses[-1]) - max(0.0, fall) * log2(steps / now)

    def passing(self, level: float) -> Passing | None:
        """The moment its target loss first falls to `level`; None where it never does."""
        losses = self.losses
        there = next((n for n in range(len(losses)) if losses[n] <= level), None)
        if there is None:
            return None
        if there == 0:
            return Passing(0.0, self.targets[0], self.rises[0], 0.0)
        share = float((losses[there - 1] - level) / (losses[there - 1] - losses[there]))

        def between(values: Array) -> Array:
            return (1 - share) * values[there - 1] + share * values[there]

        slope = float((self.forgotten[there] - self.forgotten[there - 1]) / (losses[there] - losses[there - 1]))
        steps = (1 - share) * self.steps[there - 1] + share * self.steps[there]
        return Passing(steps, between(self.targets), between(self.rises), slope)


@dataclass(frozen=True)
class Passing:
    """A run at the moment it passes a target loss."""

    steps: float
    targets: Array
    """(samples,)"""
    rises: Array
    """(samples,)"""
    slope: float
    """Rise of the kept loss per fall of the target loss there, with a minus: what an error of the target loss does to the rise."""


def ranked(paths: list[TunedPath], share: float, level: float | None = None) -> list[int]:
    """The numbers of the paths, best first: those that learn enough by how little they have forgotten there, then the others by loss.

    Enough is `share` of what the best of them learns, unless a `level` of the target loss is given.
    """
    base, best = float(paths[0].losses[0]), min(path.least for path in paths)
    asked = level_of(base, best, share) if level is None else level

    return sorted(range(len(paths)), key=lambda number: _worth(paths[number], asked if best < base else None))


def promising(paths: list[TunedPath], share: float, steps: int) -> list[int]:
    """The same order for runs that are to go on up to `steps`, by what can be foreseen of it, so that gentle settings are not lost.

    First those that will have learned enough, by what they have forgotten at the target loss that all of them have passed by now; but
    the one that has learned most is among the first two, should what is foreseen not come true.
    """
    base, best = float(paths[0].losses[0]), min(path.least for path in paths)
    level = level_of(base, best, share)
    will = [path for path in paths if path.foreseen(steps) <= level and path.least < base]
    passed = max((path.least for path in will), default=level)
    order = sorted(range(len(paths)), key=lambda number: _worth(paths[number], passed if paths[number] in will else None))
    fastest = min(order, key=lambda number: paths[number].least)
    if fastest in order[2:]:
        order.remove(fastest)
        order.insert(1, fastest)
    return order


def _worth(path: TunedPath, level: float | None) -> tuple[bool, float]:
    """Sorts paths: by what is forgotten at the level, where they come to it, and behind those by loss."""
    found = None if level is None else path.passing(level)
    rise = None if found is None else float(found.rises @ path.keep_weights / path.keep_weights.sum())
    return (True, path.least) if rise is None else (False, rise)


def level_of(base: float, best: float, share: float) -> float:
    """The target loss at which `share` of the way from the base to the best is made."""
    return base - share * (base - best)
