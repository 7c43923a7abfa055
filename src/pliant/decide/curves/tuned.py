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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pliant.decide.curves.series import Point, Series, token_count
from pliant.statistics import cluster_numbers

TUNED = "tuned"


@dataclass(frozen=True)
class Tuned:
    """A series at the learning rate tuned per checkpoint, the `rates` chosen on all samples by tokens, and what to beware of."""

    series: Series
    rates: dict[int, float]
    caveats: list[str]


def tuned(series: Sequence[Series]) -> list[Tuned]:
    """For each change swept over a learning rate: its measures with the rate tuned per checkpoint.

    The task is the measure that reads the data the change trains on, or else the one named `task`; a change without either
    is left out.
    """
    families: dict[str, list[Series]] = {}
    for found in series:
        if learning_rate(found.change) is not None:
            alike = json.dumps([found.ladder, with_learning_rate(found.change, TUNED)], sort_keys=True)
            families.setdefault(alike, []).append(found)
    return [answer for family in families.values() for answer in _tune(family)]


def learning_rate(change: Mapping[str, Any]) -> float | None:
    """The learning rate a change trains with: its own, or that of the first link of a chain that has one."""
    if change["kind"] == "chain":
        return next((rate for link in change["links"] if (rate := learning_rate(link)) is not None), None)
    rate = change.get("lr")
    return float(rate) if isinstance(rate, (int, float)) else None


def with_learning_rate(change: Mapping[str, Any], value: Any) -> dict[str, Any]:
    """The same change with that rate written otherwise."""
    if change["kind"] != "chain":
        return {**change, "lr": value} if learning_rate(change) is not None else dict(change)
    links = list(change["links"])
    place = next((number for number, link in enumerate(links) if learning_rate(link) is not None), None)
    if place is not None:
        links[place] = with_learning_rate(links[place], value)
    return {**change, "links": links}


def _tune(family: Sequence[Series]) -> list[Tuned]:
    names = list(dict.fromkeys(found.measure for found in family))
    task = next((found.measure for found in family if _reads_training_data(found)), "task" if "task" in names else "")
    sweeps = {name: _Sweep([found for found in family if found.measure == name]) for name in names}
    if task not in sweeps or len(sweeps[task].rates) < 2:
        return []
    everywhere = np.ones(len(sweeps[task].half), bool)
    rates = {tokens: sweeps[task].best(tokens, everywhere) for tokens in sweeps[task].tokens()}
    answers: list[Tuned] = []
    for name, sweep in sweeps.items():
        half = sweep.half
        if name == task:
            crossed = {tokens: (sweep.best(tokens, ~half), sweep.best(tokens, half)) for tokens in rates}
        else:
            crossed = {tokens: (lr, lr) for tokens, lr in rates.items() if lr in sweep.at(tokens)}
        if len(crossed) >= 2:
            answers.append(Tuned(sweep.series(crossed), rates, _caveats(sweeps[task], rates)))
    return answers


def _reads_training_data(found: Series) -> bool:
    """Whether the measure reads the data that the change trains on."""
    links = found.change["links"] if found.change["kind"] == "chain" else [found.change]
    return any(link.get("data") is not None and link.get("data") == found.measure_form.get("data") for link in links)


def _caveats(sweep: _Sweep, rates: Mapping[int, float]) -> list[str]:
    tried = {rate for rate in sweep.rates if rate is not None}
    found: list[str] = []
    for word, edge in (("smallest", min(tried)), ("largest", max(tried))):
        if places := [token_count(tokens) for tokens, rate in rates.items() if rate == edge]:
            found.append(f"the best learning rate is the {word} that was tried, {edge:g}, at {', '.join(places)} tokens")
    if lacking := [token_count(tokens) for tokens in rates if len(sweep.at(tokens)) < len(tried)]:
        found.append(f"not every learning rate was measured at {', '.join(lacking)} tokens")
    return found


class _Sweep:
    """One measure of one change at several learning rates; `half` marks the samples of every other document."""

    def __init__(self, series: Sequence[Series]) -> None:
        self.first = series[0]
        self.half: NDArray[np.bool_] = cluster_numbers(self.first.documents) % 2 == 0
        self.rates = {learning_rate(found.change): {point.tokens: point for point in found.points} for found in series}

    def tokens(self) -> list[int]:
        """Token counts at which some rate was tried."""
        return sorted({tokens for points in self.rates.values() for tokens in points})

    def at(self, tokens: int) -> dict[float, Point]:
        """What was measured there, by rate."""
        return {rate: points[tokens] for rate, points in self.rates.items() if rate is not None and tokens in points}

    def best(self, tokens: int, where: NDArray[np.bool_]) -> float:
        """The rate with the best mean over the samples that `where` marks."""
        weights = self.first.weights * where
        sign = -1 if self.first.higher_is_better else 1
        return min((sign * float(weights @ point.values.mean(axis=(0, 1))), rate) for rate, point in self.at(tokens).items())[1]

    def series(self, chosen: Mapping[int, tuple[float, float]]) -> Series:
        """Each half of the samples at the rate chosen for it."""
        points = [self._mixed(self.at(tokens)[one], self.at(tokens)[other]) for tokens, (one, other) in chosen.items()]
        return dataclasses.replace(self.first, change=with_learning_rate(self.first.change, TUNED), points=tuple(points))

    def _mixed(self, one: Point, other: Point) -> Point:
        """`one` on the first half of the samples and `other` on the rest, over the seeds and draws both have."""
        seeds, draws = np.minimum(one.values.shape, other.values.shape)[:2]
        values = np.where(self.half, one.values[:seeds, :draws], other.values[:seeds, :draws])
        return dataclasses.replace(min(one, other, key=lambda point: len(point.values)), values=values)
