"""Reading runs from anybody's table: arrays, data frames, Arrow, CSV, Parquet, JSON lines, a ledger's answer.

The table itself is opened by `source`; here its columns are found, converted and checked.
What goes wrong in a table (missing columns, text, gaps, zeros, bits for nats) is said in one line with the row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pliant.errors import PliantError
from pliant.laws.law import LARGEST, Array, Law
from pliant.laws.tables.annealing import annealing
from pliant.laws.tables.numerals import shown
from pliant.laws.tables.source import opened, quoted
from pliant.spec import nearest

COUNTS = ("parameters", "tokens", "samples")
"""Units of columns that hold counts, which people write 70M."""
NAMES = "name"
"""Unit of columns that say which: their values become numbers, in order."""
SMALL_COUNT = 1e4
MOST_WORDS = 300
"""Characters of a list of columns in an error."""
MOST_ROWS = 20_000
"""Beyond, a fit takes minutes and more memory than most machines have; it would not be surer either."""
BITS = ("bits", "bit", "bpb", "bpc", "bpt")


@dataclass(frozen=True)
class RunTable:
    """The rows a law is fitted to."""

    columns: dict[str, Array]
    target: Array
    texts: dict[str, NDArray[np.str_]] = field(default_factory=dict[str, NDArray[np.str_]])
    """Columns that name things: clusters, groups."""
    remarks: list[str] = field(default_factory=list[str])
    schedule: str | None = None
    """Whether the runs ended their learning rates alike; None where it does not matter."""

    def __len__(self) -> int:
        return len(self.target)


def read_runs(
    law: Law,
    table: Any,
    *,
    columns: Mapping[str, str] | None = None,
    where: str | None = None,
    unit: str | None = None,
    texts: Sequence[str] = (),
    residual: str = "log",
) -> RunTable:
    """The law's columns and target from a table, checked. `texts` are further columns, read as text.

    Raises PliantError, naming column and row, for everything that would make a fit meaningless.
    """
    wanted = [*law.column_names, law.target]
    columns = dict(columns or {})
    for name in columns:
        if name not in wanted:
            raise PliantError(f"law {law.name} reads no column {name!r}; {nearest(name, wanted)}")
    counts = {column.name for column in law.columns if column.unit in COUNTS}
    with opened(table) as source:
        names, rows = source.keep(where)
        if rows > MOST_ROWS:
            raise PliantError(
                f"{rows} rows are more than a law is fitted to ({MOST_ROWS}): choose some with where, such as "
                f"where 'hash({quoted(names[0])}) % {math.ceil(rows / MOST_ROWS) + 1} = 0'"
            )
        defaults = {column.name: column.default for column in law.columns if column.default is not None}
        expressions = {name: _expression(name, columns, names, defaults, law) for name in wanted}
        named = [column.name for column in law.columns if column.unit == NAMES]
        expressions |= {name: f"dense_rank() over (order by ({expressions[name]}))" for name in named}
        texts_sql = {name: quoted(name) if name in names else name for name in texts}
        copies = source.drop_copies(names)
        numbers = {name: source.numbers(name, expression, counts=name in counts) for name, expression in expressions.items()}
        words = {name: source.words(name, expression) for name, expression in texts_sql.items()}
        schedule = annealing(law, names, lambda name: source.words(name, f"coalesce(cast({quoted(name)} as varchar), 'unknown')"))
    target = _in_nats(numbers.pop(law.target), law, expressions[law.target], unit)
    positive = {column.name for column in law.columns if column.positive}
    for name, values in {**numbers, law.target: target}.items():
        above = name in positive or (name == law.target and residual == "log")
        _check_values(name, values, positive=above, expression=expressions[name], target=name == law.target)
    measured = {name: values for name, values in numbers.items() if name in names or name in columns}
    small = [name for name, values in measured.items() if name in counts and values.max() < SMALL_COUNT]
    remarks = [*_remarks(measured, target, copies), *(_small_count(name, measured[name]) for name in small)]
    return RunTable(numbers, target, words, remarks, schedule)


def read_columns(law: Law, table: Any, *, texts: Sequence[str] = ()) -> dict[str, Any]:
    """The law's columns, without its target, of runs to predict; `texts` as text where the table has them. Raises PliantError."""
    counts = {column.name for column in law.columns if column.unit in COUNTS}
    defaults = {column.name: column.default for column in law.columns if column.default is not None}
    with opened(table) as source:
        names, source.rows = source.keep(None)
        if source.rows > MOST_ROWS:
            raise PliantError(f"{source.rows} rows are more than are predicted at once ({MOST_ROWS})")
        expressions = {name: _expression(name, {}, names, defaults, law) for name in law.column_names}
        numbers = {name: source.numbers(name, expression, counts=name in counts) for name, expression in expressions.items()}
        words = {name: source.words(name, quoted(name)) for name in texts if name in names}
    positive = {column.name for column in law.columns if column.positive}
    for name, values in numbers.items():
        _check_values(name, values, positive=name in positive, expression=expressions[name])
    return {**numbers, **words}


def _expression(name: str, columns: Mapping[str, str], known: Sequence[str], defaults: Mapping[str, float], law: Law) -> str:
    given = columns.get(name, name)
    if given in known:
        return quoted(given)
    if name in columns:
        if given.isidentifier():
            raise PliantError(f"{name}: the table has no column {shown(given)}; {nearest(given, known)}")
        return given
    if name in defaults:
        return repr(defaults[name])
    alike = [other for other in known if other.lower() == name.lower()]
    listed = ", ".join(known[:12])[:MOST_WORDS]
    there = listed + (" ..." if len(known) > 12 or len(listed) == MOST_WORDS else "")
    guess = alike[0] if alike else "..."
    raise PliantError(f"the table has no column {name!r}, which law {law.name} needs: say which it is ({name}={guess}); it has {there}")


def _in_nats(values: Array, law: Law, expression: str, unit: str | None) -> Array:
    if unit not in (None, "nats", "bits"):
        raise PliantError(f"unit {unit!r}: write nats or bits")
    if not law.unit.startswith("nats"):
        return values
    if unit == "bits":
        return values * math.log(2)
    words = expression.lower().strip('"').replace("/", "_").split("_")
    if unit is None and any(word in BITS for word in words):
        raise PliantError(
            f"{law.target} is read from {expression}, which looks like bits: say unit bits to convert it to nats, or unit nats"
        )
    return values


def _check_values(name: str, values: Array, *, positive: bool, expression: str, target: bool = False) -> None:
    bad = np.flatnonzero(~(np.abs(values) <= LARGEST))
    if len(bad):
        raise PliantError(
            f"column {name}: {len(bad)} of {len(values)} rows have no finite number (first: row {bad[0] + 1}); "
            f"leave them out with where 'isfinite({expression.strip(chr(34))})'"
        )
    bad = np.flatnonzero(values <= 0) if positive else bad
    if len(bad) == len(values) and target:
        raise PliantError(
            f"column {name}: all {len(values)} rows are not above zero, so there is no logarithm; fit it with residual difference "
            "(--residual difference), or change its sign"
        )
    if len(bad):
        raise PliantError(
            f"column {name}: {len(bad)} of {len(values)} rows are not above zero (first: row {bad[0] + 1}, {values[bad[0]]:g}); "
            f"leave them out with where '{expression.strip(chr(34))} > 0'"
        )


def _small_count(name: str, values: Array) -> str:
    return f"column {name} goes up to {values.max():g} only, where a plain count is expected: if it is in billions, say {name}='... * 1e9'"


def _remarks(columns: Mapping[str, Array], target: Array, copies: int) -> list[str]:
    remarks: list[str] = []
    if copies:
        remarks.append(f"{copies} rows are exact copies of other rows and were counted once")
    stacked = np.stack([*columns.values(), target])
    repeats = stacked.shape[1] - np.unique(stacked, axis=1).shape[1]
    if repeats:
        remarks.append(
            f"{repeats} rows repeat the columns and the target of another row; if they are the same run, intervals are too narrow"
        )
    remarks += [
        f"column {name} has one value ({values[0]:g}): what depends on it alone cannot be told"
        for name, values in columns.items()
        if len(values) > 1 and (values == values[0]).all()
    ]
    return remarks
