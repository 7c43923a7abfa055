"""Any table as DuckDB's `runs`: files, data frames, Arrow, arrays; its rows chosen and its columns read with SQL.

Everything goes through DuckDB once, so that a column may be given as SQL (`D="tokens_in_billions * 1e9"`) and rows chosen
with `where`, whatever the table was. The query sees the one table `runs` and cannot read files.
Numbers may be written for people (`numerals`). What a file says is untrusted: its kind, size and width are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pliant.errors import PliantError
from pliant.laws.law import Array
from pliant.laws.tables.files import first_line, load
from pliant.laws.tables.numerals import Writing, decimal_sign, number, shown
from pliant.spec import nearest

if TYPE_CHECKING:
    import duckdb

UNKNOWN_COLUMN = re.compile(r'Referenced column "(.+?)" not found')


class SourceTable:
    """The table as DuckDB's `runs`, and the rows kept of it."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, writing: Writing) -> None:
        self.connection, self.writing, self.rows = connection, writing, 0

    def __enter__(self) -> SourceTable:
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
            unknown = UNKNOWN_COLUMN.search(str(error))
            if unknown:
                raise PliantError(f"the table has no column {shown(unknown[1])}; {nearest(unknown[1], self.names())}") from None
            raise PliantError(f"table: {first_line(error)}") from None

    def names(self) -> list[str]:
        """The table's columns."""
        return self.connection.sql("select * from runs limit 0").columns

    def keep(self, where: str | None) -> tuple[list[str], int]:
        """Choose rows; the names of the table's columns, and how many rows are left. Row order is the table's."""
        everything = f"select *, row_number() over () as pliant_row from (select * from runs where ({where or 'true'}\n))"
        kept = self.query(everything)
        if kept.num_rows == 0:
            raise PliantError(f"no row of the table meets {shown(where)}" if where else "the table has no rows")
        self.connection.register("kept", kept)
        return [name for name in kept.column_names if name != "pliant_row"], kept.num_rows

    def drop_copies(self, names: Sequence[str]) -> int:
        """Keep the first of rows that are equal in every column; how many went."""
        keys = ", ".join(quoted(name) for name in names)
        firsts = self.query(f"select min(pliant_row) as pliant_row from kept group by {keys}")
        everything = self.query("select count(*) as n from kept").column("n")[0].as_py()
        self.connection.register("firsts", firsts)
        self.connection.register("kept", self.query("select kept.* from kept join firsts using (pliant_row) order by pliant_row"))
        self.rows = firsts.num_rows
        return everything - firsts.num_rows

    def numbers(self, name: str, expression: str, *, counts: bool) -> Array:
        """A column as float64, missing values as NaN; `counts` may be written 70M. Raises PliantError for other text."""
        answer = self.query(f"select ({expression}\n) as raw, try_cast(({expression}\n) as double) as value from kept order by pliant_row")
        raw, values = answer.column("raw").to_pylist(), answer.column("value").to_pylist()
        texts = [cell if isinstance(cell, str) else None for cell in raw]
        decimal = decimal_sign(name, texts, counts, self.writing)
        for row, (cell, text) in enumerate(zip(raw, texts, strict=True)):
            if text is not None:
                values[row] = number(text, decimal, counts)
            if cell is not None and values[row] is None:
                raise PliantError(
                    f"column {name}: row {row + 1} holds {shown(cell)}, which is no number; {_advice(name, expression, cell)}"
                )
        if len(values) != self.rows:
            raise PliantError(f"{name}={expression}: gives {len(values)} values for {self.rows} rows")
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)

    def words(self, name: str, expression: str) -> NDArray[np.str_]:
        """A column as text."""
        answer = self.query(f"select cast(({expression}\n) as varchar) as value from kept order by pliant_row").column("value")
        if answer.null_count:
            raise PliantError(f"column {name}: {answer.null_count} rows have no value")
        if len(answer) != self.rows:
            raise PliantError(f"{name}: gives {len(answer)} values for {self.rows} rows")
        return np.asarray(answer.to_pylist(), dtype=np.str_)


def quoted(name: str) -> str:
    """A column's name as SQL."""
    return '"' + name.replace('"', '""') + '"'


def opened(table: Any) -> SourceTable:
    """Any table as DuckDB's `runs`, with files out of reach from then on."""
    import duckdb

    connection, writing = duckdb.connect(config={"python_enable_replacements": False}), Writing()
    if isinstance(table, (str, Path)):
        writing = load(connection, Path(table))
    else:
        connection.register("runs", _arrow(table))
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")
    return SourceTable(connection, writing)


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


def _advice(name: str, expression: str, cell: object) -> str:
    column = expression.strip('"')
    if str(cell).rstrip().endswith("%"):
        return f"give shares instead of percentages: 0.12, or columns {name}=\"cast(rtrim({column}, '%') as double) / 100\""
    return f"leave such rows out with where 'try_cast({column} as double) is not null'"
