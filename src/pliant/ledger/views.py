"""A ledger as SQL: the views `records`, `samples`, `rises` and `differences`, for queries that can read nothing else and write nothing.

The user's query runs inside `from (...)`, where DuckDB accepts one SELECT and no part that writes (a COPY inside WITH among
them), on a connection whose only files are the ledger's shards and whose settings are locked.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

from pliant.errors import PliantError
from pliant.files import as_utf8
from pliant.ledger.differences import differences, rises
from pliant.ledger.record import SAMPLE_COLUMNS, Table, arrow_schema

HIGHER_ONCE = "('accuracy', 'exact_match', 'f1', 'rouge', 'bleu', 'score', 'win_rate')"
"""The metrics of which more was taken to be better before readings said so themselves."""

if TYPE_CHECKING:
    import duckdb

    from pliant.ledger.ledger import Ledger

READING = "union_by_name = true, hive_partitioning = false"
"""Older shards lack columns; no part of a path is a column."""

WITH_DEFAULTS = f"""coalesce(axis, 'tokens') as axis,
    if(axis = 'params', params, coalesce(position, if(axis is null, tokens, null))) as position,
    coalesce(better, if(metric in {HIGHER_ONCE}, 'higher', 'lower')) as better"""
"""What records of versions that did not have these columns meant; along sizes the position is the size."""

ATTEMPTS = 5
SAMPLES = """
create or replace view samples as select key, study, checkpoint, weights, base_weights, params, tokens, change_kind, change_json, measure,
    metric, unit, seed, draw, unnest(sample_ids) as sample, unnest(sample_values) as value, unnest(sample_weights) as weight,
    unnest(sample_answers) as answer
from shards"""


def answer(ledger: Ledger, query: str) -> Table:
    """The answer to one SELECT as an Arrow table. Raises PliantError; see `Ledger.sql`."""
    import duckdb

    inside = as_utf8(f"from ({query.strip().rstrip(';')}\n)")
    with connect(ledger) as connection:
        statements = duckdb.extract_statements(inside)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise PliantError("a ledger answers one SELECT at a time, over the views records, samples, rises and differences")
        for name, table in (("rises", rises), ("differences", differences)):
            if name in query.lower():
                connection.register(name, table(connection))
        connection.execute("set enable_external_access = false")
        connection.execute("set lock_configuration = true")
        return connection.sql(inside).to_arrow_table()


@contextlib.contextmanager
def _complaints(ledger: Ledger) -> Generator[None]:
    """DuckDB's complaints in one line, without its drawing of the query."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        lines = [line.strip() for line in str(error).split("\n\n")[0].splitlines() if line.strip()]
        known = " (tables: records, samples, rises, differences)" if lines[0].startswith("Catalog Error: Table") else ""
        gone = "; another process has rewritten the ledger meanwhile: run the command again" if "No such file" in lines[0] else ""
        raise PliantError(f"{ledger.folder}: {' '.join(lines)}{known}{gone}") from None


@contextlib.contextmanager
def connect(ledger: Ledger) -> Generator[duckdb.DuckDBPyConnection]:
    """A connection in memory with the views `stored` (every finished record with its samples), `failed`, `shards` (those of
    `stored` that the studies still ask for, or the one study that the ledger is to show), `records` and `samples`.

    Every file is verified first. Raises PliantError for a damaged one, and with DuckDB's reason for whatever fails inside the block.
    """
    import duckdb

    with _complaints(ledger), duckdb.connect(config={"temp_directory": "", "python_enable_replacements": False}) as connection:
        for attempt in range(ATTEMPTS):
            try:
                _views(connection, ledger)
                break
            except (duckdb.IOException, FileNotFoundError):  # a run removed files between our listing and reading them
                if attempt == ATTEMPTS - 1:
                    raise PliantError(f"{ledger.folder}: its files come and go; wait for who is writing to it") from None
        yield connection


def _views(connection: duckdb.DuckDBPyConnection, ledger: Ledger) -> None:
    import pyarrow as pa

    shards, failures, outdated = ledger.shards(), ledger.failures(), ledger.outdated()
    connection.register("no_records", arrow_schema().empty_table())
    _view(connection, "stored", shards)
    _view(connection, "failed", failures)
    connection.register("outdated", pa.table({"key": pa.array(outdated, pa.string())}))
    asked = "anti join outdated using (key)" if outdated else ""
    if ledger.study is not None:
        asked += " where study = '" + as_utf8(ledger.study).replace("'", "''") + "'"
    superseded = f"union all from failed anti join stored using (key) {asked}" if failures else ""
    lists = ", ".join(SAMPLE_COLUMNS)
    connection.execute(f"create or replace view shards as select * replace ({WITH_DEFAULTS}) from stored {asked}")
    connection.execute(
        f"create or replace view records as select * exclude ({lists}), change_json::json as change from (from shards {superseded})"
    )
    connection.execute(SAMPLES)
    names = [as_utf8(path) for path in shards + failures]
    connection.execute("set allowed_paths = $paths", {"paths": names + [_literal(name) for name in names]})


def _view(connection: duckdb.DuckDBPyConnection, name: str, paths: list[Path]) -> None:
    if paths:
        files = ", ".join("'" + _literal(as_utf8(path)).replace("'", "''") + "'" for path in paths)
        connection.execute(f"create or replace view {name} as from read_parquet([{files}], {READING}) union all by name from no_records")
    else:
        connection.execute(f"create or replace view {name} as from no_records")


def _literal(path: str) -> str:
    """A path as DuckDB's patterns spell it, so that a folder may be called `run[lr=1e-4]`."""
    return re.sub(r"[\[*?]", r"[\g<0>]", path)
