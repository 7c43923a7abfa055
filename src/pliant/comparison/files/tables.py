"""A table of results: CSV, JSONL, JSON, Parquet or Arrow with a row for every item (and run, and system).

Columns: `item` and `value`; where there are several, `system`, `task`, `metric`; `seed` for runs that every item shares, `sample` for
answers that one model gave several times; `group` for items that hang together; `better` (higher or lower). Usual other names are
understood. A table without items has the result of a whole run in each row, and needs a seed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from pliant.comparison.outcomes import Outcomes, System
from pliant.data.locate import TABLES, kind_of
from pliant.data.rows import SEPARATED, rows
from pliant.errors import PliantError
from pliant.measures.measure import Better
from pliant.spec import nearest
from pliant.statistics import Array

Texts = NDArray[np.object_]
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
}
"""What each column is called, the first that is there."""
TRUTH = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0, "correct": 1.0, "incorrect": 0.0}


def knows(path: Path) -> bool:
    """A file that ends like a table."""
    return path.is_file() and kind_of(path) in (*TABLES, *SEPARATED, ".jsonl", ".json", ".ndjson")


def read(path: Path) -> list[System]:
    """The systems of a table, in the order in which they come. Raises PliantError that names the row or column at fault."""
    columns = _columns(path)
    found = {name: next((other for other in others if other in columns), None) for name, others in NAMES.items()}
    totals = found["item"] is None and found["seed"] is not None
    for name in ("value",) if totals else ("item", "value"):
        if found[name] is None:
            told = f"{path}: no column {name!r} (or {', '.join(NAMES[name][1:5])}); {nearest(name, columns)}"
            raise PliantError(told)
    measured = str(found["value"])
    values = _numbers(columns[measured], path, measured)
    named = {name: other for name, other in found.items() if other is not None and name not in ("value", "better")}
    names = {name: _texts(columns[other]) for name, other in named.items()}
    better = _better(_texts(columns[found["better"]]) if found["better"] else None, measured, path)
    systems: dict[str, dict[tuple[str, str], Outcomes]] = {}
    for places in _groups([names[name] for name in ("system", "task", "metric") if name in names], len(values)):
        first = int(places[0])
        system, task, metric = (
            names[name][first] if name in names else usual
            for name, usual in (("system", path.stem), ("task", "items"), ("metric", measured))
        )
        systems.setdefault(system, {})[task, metric] = _outcomes(task, metric, names, values, places, better)
    return [System(name, str(path), outcomes) for name, outcomes in systems.items()]


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


def _outcomes(task: str, metric: str, names: Mapping[str, Texts], values: Array, places: NDArray[np.int64], better: Better) -> Outcomes:
    def column(name: str) -> list[str]:
        return names[name][places].tolist() if name in names else []

    chosen = values[places]
    sampled = "sample" in names and "seed" not in names
    unit = "fraction" if better == "higher" and chosen.min() >= 0 and chosen.max() <= 1 else metric
    repeats = column("sample") if sampled else column("seed")
    if len(set(repeats)) < 2:
        repeats = []
    items = column("item") or ["whole run"] * len(places)
    return Outcomes(
        task, metric, items, chosen, better, unit, repeats, sampled=sampled, totals="item" not in names, families=column("group")
    )


def _columns(path: Path) -> dict[str, Any]:
    """Every column of the table, by its name: an Arrow column, or a list."""
    if kind_of(path) == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(path)
        except (pa.ArrowException, OSError) as error:
            raise PliantError(f"{path}: cannot be read ({str(error).splitlines()[0]:.80})") from None
        if not table.num_rows:
            raise PliantError(f"{path}: the table is empty")
        return {name: table[name] for name in table.column_names}
    columns: dict[str, list[Any]] = {}
    for number, (where, record) in enumerate(rows([path])):
        if number == 0:
            columns = {str(name): [] for name in record}
        if set(record) != set(columns):
            other = sorted(set(record) ^ set(columns))
            raise PliantError(f"{where}: has other fields than the first record ({other[0]!r:.40}); every row needs the same")
        for name, value in record.items():
            columns[name].append(value)
    if not columns:
        raise PliantError(f"{path}: the table is empty")
    return dict(columns)


def _numbers(column: Any, path: Path, name: str) -> Array:
    """(rows,) Raises PliantError that names the first row without a number."""
    if hasattr(column, "type"):
        import pyarrow as pa

        if not column.null_count and (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
            values = column.to_numpy().astype(np.float64)
            if np.isfinite(values).all():
                return values
        column = column.to_pylist()
    found = [_number(cell) for cell in column]
    bad = next((place for place, number in enumerate(found) if number is None or not np.isfinite(number)), None)
    if bad is not None:
        raise PliantError(f"{path}: {name} of row {bad + 1} is {column[bad]!r:.40}, not a number; remove the item, or give it a value")
    return np.array(found, np.float64)


def _number(cell: Any) -> float | None:
    if isinstance(cell, str):
        if cell.strip().lower() in TRUTH:
            return TRUTH[cell.strip().lower()]
        try:
            return float(cell)
        except ValueError:
            return None
    return float(cell) if isinstance(cell, bool | int | float) else None


def _texts(column: Any) -> Texts:
    """(rows,) as text; what is missing is empty."""
    if hasattr(column, "type"):
        import pyarrow as pa

        with contextlib.suppress(pa.ArrowException):
            return column.cast(pa.string()).fill_null("").to_numpy()
        column = column.to_pylist()
    found = np.empty(len(column), object)
    found[:] = ["" if cell is None else str(cell) for cell in column]
    return found


def _better(told: Texts | None, name: str, path: Path) -> Better:
    said = set[str]() if told is None else {text for text in told if text}
    if not said:
        return "lower" if "loss" in name or "perplexity" in name else "higher"
    if len(said) > 1 or not said <= {"higher", "lower"}:
        raise PliantError(f"{path}: the column better says {', '.join(sorted(said))[:60]}; write higher, or lower, in every row")
    return cast("Better", said.pop())
