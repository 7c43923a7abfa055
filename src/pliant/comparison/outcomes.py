"""What a system did on the items of a task, whoever wrote the file it was read from."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pliant.errors import PliantError
from pliant.measures.measure import Better
from pliant.statistics import Array

LARGEST = 1e100
"""Of a value: sums of squares of larger ones are no numbers any more."""
LOWER = {
    *("loss", "losses", "perplexity", "ppl", "nll", "bpb", "bpc", "bits", "error", "errors", "err", "wer", "cer", "ter"),
    *("mae", "mse", "rmse", "brier", "ece", "latency", "seconds"),
}
"""Words in a metric's name that say that less is better, where nothing else does."""
OVER_ALL = "over all"
"""The name of the task that stands for all of them."""


@dataclass(frozen=True)
class Outcomes:
    """The values of one metric on the items of one task: a row for every item and repeat.

    `repeats` tells runs of the same thing apart: trainings with other seeds, which every item of a run shares, or, where
    `sampled`, answers that one model gave several times. `families` are what hangs together (documents, variants of a question);
    where there are none, every item stands for itself. `prompts` are hashes of what was asked, and `facts` what must agree for a
    comparison of like with like (few-shot examples, version of the task); both may be unknown.
    """

    task: str
    metric: str
    items: Sequence[str]
    values: Array
    better: Better = "higher"
    unit: str = ""
    repeats: Sequence[str] = ()
    sampled: bool = False
    totals: bool = False
    families: Sequence[str] = ()
    weights: Array | None = None
    prompts: Mapping[str, str] = field(default_factory=dict[str, str])
    texts: Mapping[str, str] = field(default_factory=dict[str, str])
    facts: Mapping[str, str] = field(default_factory=dict[str, str])
    nameless: bool = False
    """Whether only a total is known, so that which item got which value is not."""

    def __post_init__(self) -> None:
        bad = np.flatnonzero(~np.isfinite(self.values))
        if len(bad):
            raise PliantError(f"{self.task}: {self.metric} of item {self.items[bad[0]]} is {self.values[bad[0]]}, not a finite number")
        if len(self.values) and float(np.abs(self.values).max()) > LARGEST:
            raise PliantError(f"{self.task}: {self.metric} has values beyond {LARGEST:g}, which no mean can be taken of")

    @cached_property
    def grid(self) -> RunsByItem:
        """The values as repeats by items. Raises PliantError for an item that is there twice in one run."""
        if not len(self.repeats):
            if len(set(self.items)) < len(self.items):
                raise self._twice([(item, "") for item in self.items])
            return RunsByItem(list(self.items), [""], self.values[None], 0)
        pairs = list(zip(self.items, map(str, self.repeats), strict=True))
        if len(set(pairs)) < len(pairs):
            raise self._twice(pairs)
        items, runs = list(dict.fromkeys(self.items)), sorted(set(map(str, self.repeats)))
        place, run = {item: n for n, item in enumerate(items)}, {name: n for n, name in enumerate(runs)}
        values = np.full((len(runs), len(items)), np.nan)
        values[[run[name] for _, name in pairs], [place[item] for item, _ in pairs]] = self.values
        if self.sampled:  # an item counts with the answers it has
            return RunsByItem(items, runs, values, 0)
        whole = np.logical_and.reduce(np.isfinite(values), axis=0)
        if not whole.any():
            raise PliantError(f"{self.task}: no item is in all {len(runs)} runs ({', '.join(runs[:3])} ...); they do not belong together")
        kept = [item for item, there in zip(items, whole.tolist(), strict=True) if there]
        return RunsByItem(kept, runs, values[:, whole], int((~whole).sum()))

    @property
    def binary(self) -> bool:
        """Whether every value is 0 or 1."""
        return bool(np.isin(self.values, (0.0, 1.0)).all())

    def per_item(self, name: str) -> Mapping[str, str]:
        """A column that has one value an item, by item."""
        column: Sequence[str] = getattr(self, name)
        return dict(zip(self.items, column, strict=True)) if len(column) else {}

    def per_item_weights(self) -> Mapping[str, float]:
        """What each item counts; empty where all count the same."""
        return {} if self.weights is None else dict(zip(self.items, self.weights.tolist(), strict=True))

    def called(self, task: str) -> Outcomes:
        """The same under another task's name."""
        return replace(self, task=task)

    def _twice(self, pairs: Sequence[tuple[str, str]]) -> PliantError:
        (item, run), times = Counter(pairs).most_common(1)[0]
        place = f" of run {run}" if run else ""
        return PliantError(f"{self.task}: item {item!r:.60}{place} is there {times} times; give every repeat a seed, or remove all but one")


@dataclass(frozen=True)
class RunsByItem:
    """Values as (repeats, items); an answer that a sampled item lacks is NaN."""

    items: list[str]
    repeats: list[str]
    values: NDArray[np.float64]
    partial: int
    """Items left out because some run lacks them."""


@dataclass(frozen=True)
class System:
    """What is compared: a model, a checkpoint, a change of one, with all its outcomes."""

    name: str
    source: str
    outcomes: Mapping[tuple[str, str], Outcomes] = field(repr=False)
    """By task and metric, in the order in which they are to be shown; the first metric of a task stands for it."""
    notes: Sequence[str] = ()

    def tasks(self) -> dict[str, list[str]]:
        """The metrics of each task."""
        found: dict[str, list[str]] = {}
        for task, metric in self.outcomes:
            found.setdefault(task, []).append(metric)
        return found


def better_by_name(metric: str) -> Better:
    """Which direction is better, by the words that a metric's name is made of."""
    return "lower" if LOWER & set(re.split(r"[^a-z]+", metric.lower())) else "higher"


def families_of(outcomes: Outcomes, items: Sequence[str]) -> NDArray[np.int64]:
    """The family of each item, as whole numbers from 0; each item its own where there are none."""
    known = outcomes.per_item("families")
    if not known:
        return np.arange(len(items))
    return np.unique([known[item] for item in items], return_inverse=True)[1]


def over_runs(values: Array) -> Array:
    """(items,) the mean of (runs, items), without answers that were not given."""
    return values[0] if len(values) == 1 else np.nanmean(values, axis=0)


def resolution(values: Array) -> float:
    """The smallest step between different values: 1 for right and wrong, and for whole points; next to nothing for measurements.

    Values that are all alike show none: 1 where they are 0 or 1, else 0.
    """
    levels = np.unique(values[~np.isnan(values)])
    if len(levels) > 1:
        return float(np.diff(levels).min())
    return 1.0 if len(levels) and levels[0] in (0.0, 1.0) else 0.0
