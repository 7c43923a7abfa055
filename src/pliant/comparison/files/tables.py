"""A table of results: CSV, JSONL, JSON, Parquet or Arrow with a row for every item (and run, and system).

Columns: `item` and `value`; where there are several, `system`, `task`, `metric`; `seed` for runs that every item shares, `sample` for
answers that one model gave several times (of which each run's mean counts, where there are seeds too); `group` for items that hang
together; `better` (higher or lower). Usual other names are understood, in any case; several columns of values are a metric each. A
table without items has the result of a whole run in each row, and needs a seed; or what is known of all runs, their mean with their `sd`
and number `n`; or, with an `n` alone, a fraction that was right of so many items.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from pliant.comparison.files.columns import Texts, columns_of, first, number, numbers, texts
from pliant.comparison.outcomes import Outcomes, System, better_by_name
from pliant.comparison.totals import MOST, of_runs, of_total
from pliant.data.locate import TABLES, kind_of
from pliant.data.rows import SEPARATED
from pliant.errors import PliantError
from pliant.measures.measure import Better
from pliant.spec import nearest
from pliant.statistics import Array

NAMES = {
    "item": ("item", "id", "item_id", "doc_id", "question_id", "example", "example_id", "sample_id", "prompt_id", "idx", "index"),
    "value": ("value", "score", "correct", "acc", "accuracy", "exact_match", "reward", "loss", "rating", "result"),
    "system": ("system", "model", "model_name", "checkpoint", "method", "run", "arm"),
    "task": ("task", "dataset", "benchmark", "subset"),
    "metric": ("metric",),
    "seed": ("seed", "run_seed", "training_seed"),
    "sample": ("sample", "epoch", "repeat", "attempt", "generation"),
    "group": ("group", "cluster", "family", "document", "passage"),
    "better": ("better",),
    "count": ("n", "count", "n_items", "num_items"),
    "spread": ("sd", "std", "stdev", "std_dev"),
}
"""What each column is called, the first that is there."""


def knows(path: Path) -> bool:
    """A file that ends like a table."""
    return path.is_file() and kind_of(path) in (*TABLES, *SEPARATED, ".jsonl", ".json", ".ndjson")


def read(path: Path) -> list[System]:
    """The systems of a table, in the order in which they come. Raises PliantError that names the row or column at fault."""
    columns = columns_of(path)
    found = {name: next((other for other in others if other in columns), None) for name, others in NAMES.items()}
    measured = _measured(columns, found)
    if found["item"] is None and found["seed"] is None and found["count"] is None:
        raise PliantError(_lacking("item", columns, path))
    if not measured:
        raise PliantError(_lacking("value", columns, path))
    named = {name: other for name, other in found.items() if other is not None and name not in ("value", "count", "spread")}
    table = Roles(
        path, {name: texts(columns[other]) for name, other in named.items()}, _counts(columns, found, path), _spreads(columns, found, path)
    )
    systems: dict[str, dict[tuple[str, str], Outcomes]] = {}
    for name in measured:
        values = numbers(columns[name], path, name)
        for places in _groups([table.names[key] for key in ("system", "task", "metric") if key in table.names], len(values)):
            usual = {"system": path.stem, "task": "items", "metric": name}
            system, task, metric = (table.says(key, places, other) for key, other in usual.items())
            systems.setdefault(system, {})[task, metric] = table.outcomes(task, metric, values, places)
    return [System(name, str(path), outcomes) for name, outcomes in systems.items()]


def _measured(columns: Mapping[str, Any], found: Mapping[str, str | None]) -> list[str]:
    """The columns of values: those of a usual name that hold numbers, else the only one that is not something else."""
    usual = [name for name in NAMES["value"] if name in columns]
    if found["metric"] is not None:
        usual = usual[:1]
    if usual:
        return usual[:1] + [name for name in usual[1:] if all(number(cell) is not None for cell in first(columns[name]))]
    left = [name for name in columns if name not in found.values()]
    return left if len(left) == 1 else []


def _lacking(name: str, columns: Mapping[str, Any], path: Path) -> str:
    return f"{path}: no column {name!r} (or {', '.join(NAMES[name][1:5])}); {nearest(name, columns)}"


def _counts(columns: Mapping[str, Any], found: Mapping[str, str | None], path: Path) -> Array | None:
    """(rows,) Of how many items each row is the total, where it is one."""
    name = found["count"]
    if name is None or found["item"] is not None or found["seed"] is not None:
        return None
    counts = numbers(columns[name], path, name)
    if (counts < 1).any() or (counts % 1).any() or (counts > MOST).any():
        raise PliantError(f"{path}: {name} must be numbers of items, whole and from 1 to {MOST:,}")
    return counts


def _spreads(columns: Mapping[str, Any], found: Mapping[str, str | None], path: Path) -> Array | None:
    """(rows,) What the runs of each row differ by, where it tells of several."""
    name = found["spread"]
    if name is None or found["count"] is None or found["item"] is not None or found["seed"] is not None:
        return None
    spreads = numbers(columns[name], path, name)
    if (spreads < 0).any():
        raise PliantError(f"{path}: {name} is a standard deviation of runs, which is 0 or more")
    return spreads


@dataclass(frozen=True)
class Roles:
    """The columns that say what each row is."""

    path: Path
    names: Mapping[str, Texts]
    counts: Array | None
    spreads: Array | None

    def says(self, name: str, places: NDArray[np.int64], usual: str) -> str:
        """What the first of some rows says."""
        return str(self.names[name][places[0]]) if name in self.names else usual

    def column(self, name: str, places: NDArray[np.int64]) -> list[str]:
        """What each of some rows says; nothing where the column is not there."""
        return self.names[name][places].tolist() if name in self.names else []

    def outcomes(self, task: str, metric: str, values: Array, places: NDArray[np.int64]) -> Outcomes:
        """Of the rows of one system, task and metric."""
        better, chosen = self.better(metric, places), values[places]
        if self.counts is not None:
            return self.total(task, metric, float(chosen[0]), places, better, self.says("system", places, self.path.stem))
        several, seeded = "sample" in self.names, "seed" in self.names
        if several and seeded:
            places, chosen = self.means(task, places, chosen)
        sampled = several and not seeded
        unit = "fraction" if better == "higher" and chosen.min() >= 0 and chosen.max() <= 1 else metric
        repeats = self.column("sample" if sampled else "seed", places)
        if len(set(repeats)) < 2:
            repeats = []
        items = self.column("item", places) or ["whole run"] * len(places)
        totals, families = "item" not in self.names, self.column("group", places)
        return Outcomes(task, metric, items, chosen, better, unit, repeats, sampled=sampled, totals=totals, families=families)

    def means(self, task: str, places: NDArray[np.int64], values: Array) -> tuple[NDArray[np.int64], Array]:
        """Over the samples of each item in each run: the rows that stand for them, and their means."""
        keys = list(zip(*(self.column(name, places) or [""] * len(places) for name in ("item", "seed")), strict=True))
        full = list(zip(keys, self.column("sample", places), strict=True))
        if len(set(full)) < len(full):
            (key, sample), _ = Counter(full).most_common(1)[0]
            raise PliantError(f"{self.path}: {task}: item {key[0]!r:.60} has sample {sample!r:.20} twice in run {key[1]!r:.20}")
        number = {key: place for place, key in enumerate(dict.fromkeys(keys))}
        groups = np.array([number[key] for key in keys])
        firsts = np.unique(groups, return_index=True)[1]
        return places[firsts], np.bincount(groups, values) / np.bincount(groups)

    def total(self, task: str, metric: str, share: float, places: NDArray[np.int64], better: Better, system: str) -> Outcomes:
        """A fraction of so many items, of which it is unknown which were right; or the mean of so many runs."""
        assert self.counts is not None
        if len(places) > 1:
            raise PliantError(f"{self.path}: {task}: {metric} has {len(places)} rows for one system; totals have one, or a seed each")
        count = int(self.counts[places[0]])
        if self.spreads is not None:
            return of_runs(task, metric, share, float(self.spreads[places[0]]), count, better, system)
        if not 0 <= share <= 1:
            raise PliantError(f"{self.path}: {task}: {metric} is {share:g}; totals of n items are fractions, from 0 to 1")
        return of_total(task, metric, share, count, better)

    def better(self, metric: str, places: NDArray[np.int64]) -> Better:
        """What the column says of a metric, or else its name."""
        said = {text for text in self.column("better", places) if text}
        if not said:
            return better_by_name(metric)
        if len(said) > 1 or not said <= {"higher", "lower"}:
            raise PliantError(f"{self.path}: the column better says {', '.join(sorted(said))[:60]}; write higher, or lower, in every row")
        return cast("Better", said.pop())


def _groups(keys: Sequence[Texts], count: int) -> list[NDArray[np.int64]]:
    """The rows that share all keys, in the order in which each group begins."""
    import pyarrow as pa

    codes = np.zeros(count, np.int64)
    for key in keys:
        encoded = pa.array(key, pa.string()).dictionary_encode()
        codes = codes * len(encoded.dictionary) + encoded.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
    return sorted(groups, key=lambda places: int(places[0]))
