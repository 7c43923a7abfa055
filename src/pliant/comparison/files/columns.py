"""The columns of a table of results, as numbers and as text, whatever kind of file it is."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pliant.data.locate import kind_of
from pliant.data.rows import rows
from pliant.errors import PliantError
from pliant.statistics import Array

Texts = NDArray[np.object_]
RIGHT, WRONG = {"true", "yes", "correct", "right", "pass", "passed"}, {"false", "no", "incorrect", "wrong", "fail", "failed"}
TRUTH = dict.fromkeys(RIGHT, 1.0) | dict.fromkeys(WRONG, 0.0)


def columns_of(path: Path) -> dict[str, Any]:
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
        return _plain({name: table[name] for name in table.column_names}, path)
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
    return _plain(columns, path)


def _plain(columns: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Columns under names in lower case, without spaces around them."""
    plain = {name.strip().lower(): column for name, column in columns.items()}
    if len(plain) < len(columns):
        raise PliantError(f"{path}: two columns have one name but for capitals; rename one of {', '.join(columns)}"[:200])
    return plain


def first(column: Any) -> list[Any]:
    """Some of the first cells."""
    return column.slice(0, 100).to_pylist() if hasattr(column, "type") else column[:100]


def numbers(column: Any, path: Path, name: str) -> Array:
    """(rows,) Raises PliantError that names the first row without a number."""
    if hasattr(column, "type"):
        import pyarrow as pa

        if not column.null_count and (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
            values = column.to_numpy().astype(np.float64)
            if np.isfinite(values).all():
                return values
        column = column.to_pylist()
    found = [number(cell) for cell in column]
    bad = next((place for place, number in enumerate(found) if number is None or not np.isfinite(number)), None)
    if bad is not None:
        raise PliantError(f"{path}: {name} of row {bad + 1} is {column[bad]!r:.40}, not a number; remove the item, or give it a value")
    return np.array(found, np.float64)


def number(cell: Any) -> float | None:
    """A cell as a number, where it is one or says right or wrong."""
    if isinstance(cell, str):
        if cell.strip().lower() in TRUTH:
            return TRUTH[cell.strip().lower()]
        try:
            return float(cell)
        except ValueError:
            return None
    return float(cell) if isinstance(cell, bool | int | float) else None


def texts(column: Any) -> Texts:
    """(rows,) as text; what is missing is empty."""
    if hasattr(column, "type"):
        import pyarrow as pa

        with contextlib.suppress(pa.ArrowException):
            return column.cast(pa.string()).fill_null("").to_numpy()
        column = column.to_pylist()
    found = np.empty(len(column), object)
    found[:] = ["" if cell is None else str(cell) for cell in column]
    return found
