"""Reading runs from anybody's table: arrays, data frames, Arrow, CSV, Parquet, JSON lines, a ledger's answer.

Everything goes through DuckDB once, so that a column may be given as SQL (`D="tokens_in_billions * 1e9"`) and rows chosen
with `where`, whatever the table was. The query sees the one table `runs` and cannot read files.
What goes wrong in a table (missing columns, text, gaps, zeros, bits for nats) is said in one line with the row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pliant.errors import PliantError
from pliant.laws.law import Array, Law
from pliant.spec import nearest

if TYPE_CHECKING:
    import duckdb

READERS = {
    ".csv": "read_csv(?, sample_size = -1)",
    ".tsv": "read_csv(?, delim = '\t', sample_size = -1)",
    ".parquet": "read_parquet(?)",
    ".jsonl": "read_json(?, format = 'newline_delimited')",
    ".ndjson": "read_json(?, format = 'newline_delimited')",
    ".json": "read_json(?)",
}
BITS = ("bits", "bit", "bpb", "bpc", "bpt")


@dataclass(frozen=True)
class Runs:
    """The rows a law is fitted to."""

    columns: dict[str, Array]
    target: Array
    texts: dict[str, NDArray[np.str_]] = field(default_factory=dict[str, NDArray[np.str_]])
    """Columns that name things: clusters, groups."""
    remarks: list[str] = field(default_factory=list[str])

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
) -> Runs:
    """The law's columns and target from a table, checked. `texts` are further columns, read as text.

    Raises PliantError, naming column and row, for everything that would make a fit meaningless.
    """
    wanted = [*law.column_names, law.target]
    columns = dict(columns or {})
    for name in columns:
        if name not in wanted:
            raise PliantError(f"law {law.name} reads no column {name!r}; {nearest(name, wanted)}")
    with _opened(table) as source:
        names = source.keep(where)
        defaults = {column.name: column.default for column in law.columns if column.default is not None}
        expressions = {name: _expression(name, columns, names, defaults, law) for name in wanted}
        texts_sql = {name: _quoted(name) if name in names else name for name in texts}
        copies = source.drop_copies(names)
        numbers = {name: source.numbers(name, expression) for name, expression in expressions.items()}
        words = {name: source.words(name, expression) for name, expression in texts_sql.items()}
    target = _in_nats(numbers.pop(law.target), law, expressions[law.target], unit)
    positive = {column.name for column in law.columns if column.positive}
    for name, values in {**numbers, law.target: target}.items():
        _check_values(name, values, positive=name in positive or (name == law.target and residual == "log"), expression=expressions[name])
    measured = {name: values for name, values in numbers.items() if name in names or name in columns}
    return Runs(numbers, target, words, _remarks(measured, target, copies))


def _expression(name: str, columns: Mapping[str, str], known: Sequence[str], defaults: Mapping[str, float], law: Law) -> str:
    given = columns.get(name, name)
    if given in known:
        return _quoted(given)
    if name in columns:
        if given.isidentifier():
            raise PliantError(f"{name}={given}: the table has no column {given!r}; {nearest(given, known)}")
        return given
    if name in defaults:
        return repr(defaults[name])
    shown = ", ".join(known[:12]) + (" ..." if len(known) > 12 else "")
    raise PliantError(f"the table has no column {name!r}, which law {law.name} needs: say which it is ({name}=...); it has {shown}")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


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


def _check_values(name: str, values: Array, *, positive: bool, expression: str) -> None:
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise PliantError(
            f"column {name}: {len(bad)} of {len(values)} rows have no finite number (first: row {bad[0] + 1}); "
            f"leave them out with where 'isfinite({expression.strip(chr(34))})'"
        )
    bad = np.flatnonzero(values <= 0) if positive else bad
    if len(bad):
        raise PliantError(
            f"column {name}: {len(bad)} of {len(values)} rows are not above zero (first: row {bad[0] + 1}, {values[bad[0]]:g}); "
            f"leave them out with where '{expression.strip(chr(34))} > 0'"
        )


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


class _Source:
    """The table as DuckDB's `runs`, and the rows kept of it."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection

    def __enter__(self) -> _Source:
        return self

    def __exit__(self, *exception: object) -> None:
        self.connection.close()

    def query(self, text: str) -> Any:
        """The answer to one SELECT as an Arrow table."""
        import duckdb

        try:
            statements = duckdb.extract_statements(text)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise PliantError("columns and where take SQL expressions, not statements")
            return self.connection.sql(text).to_arrow_table()
        except duckdb.Error as error:
            raise PliantError(f"table: {_first_line(error)}") from None

    def keep(self, where: str | None) -> list[str]:
        """Choose rows; the names of the table's columns. Row order is the table's."""
        everything = f"select *, row_number() over () as pliant_row from (select * from runs where ({where or 'true'}\n))"
        kept = self.query(everything)
        if kept.num_rows == 0:
            raise PliantError(f"no row of the table meets {where!r}" if where else "the table has no rows")
        self.connection.register("kept", kept)
        return [name for name in kept.column_names if name != "pliant_row"]

    def drop_copies(self, names: Sequence[str]) -> int:
        """Keep the first of rows that are equal in every column; how many went."""
        keys = ", ".join(_quoted(name) for name in names)
        firsts = self.query(f"select min(pliant_row) as pliant_row from kept group by {keys}")
        everything = self.query("select count(*) as n from kept").column("n")[0].as_py()
        self.connection.register("firsts", firsts)
        self.connection.register("kept", self.query("select kept.* from kept join firsts using (pliant_row) order by pliant_row"))
        return everything - firsts.num_rows

    def numbers(self, name: str, expression: str) -> Array:
        """A column as float64, missing values as NaN. Raises PliantError for text."""
        answer = self.query(f"select ({expression}\n) as raw, try_cast(({expression}\n) as double) as value from kept order by pliant_row")
        raw, value = answer.column("raw"), answer.column("value")
        lost = [index for index, (a, b) in enumerate(zip(raw.to_pylist(), value.to_pylist(), strict=True)) if a is not None and b is None]
        if lost:
            raise PliantError(f"column {name}: row {lost[0] + 1} holds {raw[lost[0]].as_py()!r}, which is no number")
        return np.array(value.to_numpy(zero_copy_only=False), dtype=np.float64)

    def words(self, name: str, expression: str) -> NDArray[np.str_]:
        """A column as text."""
        answer = self.query(f"select cast(({expression}\n) as varchar) as value from kept order by pliant_row").column("value")
        if answer.null_count:
            raise PliantError(f"column {name}: {answer.null_count} rows have no value")
        return np.asarray(answer.to_pylist(), dtype=np.str_)


def _opened(table: Any) -> _Source:
    """Any table as DuckDB's `runs`, with files out of reach from then on."""
    import duckdb

    connection = duckdb.connect(config={"python_enable_replacements": False})
    if isinstance(table, (str, Path)):
        _load_file(connection, Path(table))
    else:
        connection.register("runs", _arrow(table))
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")
    return _Source(connection)


def _load_file(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    import duckdb

    if not path.exists():
        raise PliantError(f"{path}: no such file")
    if (path / "ledger.json").exists():
        raise PliantError(f"{path} is a ledger: give the answer to a query, such as Ledger({str(path)!r}).sql('select * from records')")
    place = str(path / "*.parquet") if path.is_dir() else str(path)
    reader = READERS.get(".parquet" if path.is_dir() else path.suffix.lower())
    if reader is None:
        raise PliantError(f"{path}: unknown kind of table; known: {', '.join(READERS)}, or a folder of Parquet files")
    try:
        connection.execute(f"create table runs as select * from {reader}", [place])
    except duckdb.Error as error:
        raise PliantError(f"{path}: {_first_line(error)}") from None


def _arrow(table: Any) -> Any:
    """A data frame, Arrow table, list of rows or mapping of arrays as an Arrow table."""
    import pyarrow as pa

    try:
        if isinstance(table, Mapping):
            if not table:
                raise PliantError("the table has no columns")
            return pa.table({str(name): pa.array(_plain(values)) for name, values in table.items()})
        if isinstance(table, Sequence):
            return pa.Table.from_pylist(list(table))
        if hasattr(table, "__arrow_c_stream__"):
            return pa.table(table)
    except (pa.ArrowException, ValueError, TypeError, AttributeError) as error:
        raise PliantError(f"the table cannot be read: {str(error).splitlines()[0]}") from None
    raise PliantError(f"a {type(table).__name__} is no table: give a mapping of arrays, a data frame, an Arrow table, or a file")


def _plain(values: Any) -> Any:
    return values if isinstance(values, (list, tuple)) else np.atleast_1d(np.asarray(values))


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
