"""The curve a practitioner sees: at every checkpoint the learning rate that is best for it.

Idea: at one fixed learning rate a longer-trained checkpoint may look worse only because that rate no longer suits it. So
choose the rate per checkpoint by the task, on half of the documents, and judge it on the other half; then the other way round.
When to use it: whenever a change was swept over its learning rate; the tuned view is the one to decide by.
Cost: none beyond the sweep.
What goes wrong: the best of a few rates is chosen, so a sweep that is too coarse, or that ends before the best rate, still
looks like degradation; see which rate was chosen where.
Source: arXiv 2503.19206, section 3 (fine-tuning with tuned learning rates).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pliant.decide.curves.series import Point, Series
from pliant.statistics import cluster_numbers


@dataclass(frozen=True)
class Tuned:
    """A series at the learning rate tuned per checkpoint, the `rates` chosen on all samples by position, and what to beware of."""

    series: Series
    rates: dict[float, float]
    caveats: list[str]


def tuned(series: Sequence[Series]) -> list[Tuned]:
    """For each change swept over a learning rate: its measures with the rate tuned per checkpoint.

    The task is the measure that reads the data the change trains on, or else the one named `task`; a change without either
    is left out.
    """
    families: dict[str, list[Series]] = {}
    for found in series:
        if found.change.trains:
            alike = json.dumps([found.ladder, found.change.told(tuned=True)], sort_keys=True)
            families.setdefault(alike, []).append(found)
    return [answer for family in families.values() for answer in _tune(family)]


def task_among(measures: Mapping[str, bool]) -> str:
    """The task among the measures of a change, which say whether they read what it trains on; else the one named `task`, else none."""
    return next((name for name, reads in measures.items() if reads), "task" if "task" in measures else "")


def _tune(family: Sequence[Series]) -> list[Tuned]:
    names = list(dict.fromkeys((found.measure, found.metric) for found in family))
    wanted = task_among({found.measure: found.reads_training_data() for found in family})
    task = next((name for name in names if name[0] == wanted), ("", ""))  # the first of its readings
    sweeps = {name: _Sweep([found for found in family if (found.measure, found.metric) == name]) for name in names}
    if task not in sweeps or len(sweeps[task].rates) < 2:
        return []
    everywhere = np.ones(len(sweeps[task].half), bool)
    rates = {position: sweeps[task].best(position, everywhere) for position in sweeps[task].positions()}
    answers: list[Tuned] = []
    for name, sweep in sweeps.items():
        half = sweep.half
        if name == task:
            crossed = {position: (sweep.best(position, ~half), sweep.best(position, half)) for position in rates}
        else:
            crossed = {position: (lr, lr) for position, lr in rates.items() if lr in sweep.at(position)}
        if len(crossed) >= 2:
            answers.append(Tuned(sweep.series(crossed), rates, _caveats(sweeps[task], rates)))
    return answers


def _caveats(sweep: _Sweep, rates: Mapping[float, float]) -> list[str]:
    tried = {rate for rate in sweep.rates if rate is not None}
    axis, found = sweep.first.axis, list[str]()
    for word, edge in (("smallest", min(tried)), ("largest", max(tried))):
        if places := [position for position, rate in rates.items() if rate == edge]:
            found.append(f"the best learning rate is the {word} that was tried, {edge:g}, at {axis.listed(places)}")
    if lacking := [position for position in rates if len(sweep.at(position)) < len(tried)]:
        found.append(f"not every learning rate was measured at {axis.listed(lacking)}")
    return found


class _Sweep:
    """One measure of one change at several learning rates; `half` marks the samples of every other document."""

    def __init__(self, series: Sequence[Series]) -> None:
        self.first = series[0]
        self.half: NDArray[np.bool_] = cluster_numbers(self.first.documents) % 2 == 0
        self.rates = {found.change.learning_rate: {point.position: point for point in found.points} for found in series}

    def positions(self) -> list[float]:
        """Places at which some rate was tried, in the order of the ladder."""
        return sorted({position for points in self.rates.values() for position in points}, key=self.first.axis.along)

    def at(self, position: float) -> dict[float, Point]:
        """What was measured there, by rate."""
        return {rate: points[position] for rate, points in self.rates.items() if rate is not None and position in points}

    def best(self, position: float, where: NDArray[np.bool_]) -> float:
        """The rate with the best mean over the samples that `where` marks."""
        weights = self.first.weights * where
        sign = -1 if self.first.higher_is_better else 1
        return min((sign * float(weights @ point.values.mean(axis=(0, 1))), rate) for rate, point in self.at(position).items())[1]

    def series(self, chosen: Mapping[float, tuple[float, float]]) -> Series:
        """Each half of the samples at the rate chosen for it."""
        points = [self._mixed(self.at(position)[one], self.at(position)[other]) for position, (one, other) in chosen.items()]
        return dataclasses.replace(self.first, tuned=True, points=tuple(points))

    def _mixed(self, one: Point, other: Point) -> Point:
        """`one` on the first half of the samples and `other` on the rest, over the seeds and draws both have."""
        seeds, draws = np.minimum(one.values.shape, other.values.shape)[:2]
        values = np.where(self.half, one.values[:seeds, :draws], other.values[:seeds, :draws])
        return dataclasses.replace(min(one, other, key=lambda point: len(point.values)), values=values)
