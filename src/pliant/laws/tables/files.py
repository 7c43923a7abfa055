"""Table files: CSV, Parquet and JSON lines read into DuckDB, with the reason in one line where that cannot be.

What a file says is untrusted: only regular files are opened, size and width are bounded, and names are taken as they are,
never as patterns.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pliant.errors import PliantError
from pliant.laws.tables.numerals import COMMA, OPEN, POINT, Writing
from pliant.webpage import legible

if TYPE_CHECKING:
    import duckdb

CSV = "nullstr = ['', 'NA', 'N/A', 'n/a', 'null', 'NULL', 'None'], sample_size = -1"
READERS = {
    ".csv": f"read_csv(?, {CSV})",
    ".tsv": f"read_csv(?, delim = '\t', {CSV})",
    ".parquet": "read_parquet(?)",
    ".jsonl": "read_json(?, format = 'newline_delimited')",
    ".ndjson": "read_json(?, format = 'newline_delimited')",
    ".json": "read_json(?)",
}
PACKED = (".gz", ".zst")
MOST_BYTES = 2**30
MOST_COLUMNS = 2000
MOST_WORDS = 300
"""Characters of an error of DuckDB's, which may repeat a whole query or line."""
BARE = rf"[+-]?[0-9]+|{OPEN.replace('[,.]', '[.]')}"
"""Cells that a machine reads as numbers, and that may be 1.234 for 1234."""


def load(connection: duckdb.DuckDBPyConnection, path: Path) -> Writing:
    """Make the file or folder of Parquet files the table `runs`; how its numbers are written. Raises PliantError."""
    import duckdb

    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and not isinstance(error, FileNotFoundError) else "no such file"
        raise PliantError(f"{legible(str(path))[:MOST_WORDS]}: {reason}") from None
    if (path / "ledger.json").exists():
        raise PliantError(f"{path} is a ledger: give the answer to a query, such as Ledger({str(path)!r}).sql('select * from records')")
    plain = path.with_suffix("") if path.suffix.lower() in PACKED else path
    kind = ".parquet" if stat.S_ISDIR(status.st_mode) else plain.suffix.lower()
    if kind not in READERS:
        raise PliantError(
            f"{path}: unknown kind of table; known: {', '.join(READERS)}, also {' and '.join(PACKED)}, or a folder of Parquet files"
        )
    places = sorted(path.glob("*.parquet")) if stat.S_ISDIR(status.st_mode) else [path]
    _regular(path, places)
    given = [_literally(place) for place in places]
    try:
        writing, doubtful = _written(connection, given, kind) if kind in (".csv", ".tsv") else (Writing(), [])
        kept = ", ".join(f"{_text(name)}: 'VARCHAR'" for name in doubtful)
        reader = READERS[kind][:-1] + f", types = {{{kept}}})" if kept else READERS[kind]
        connection.execute(f"create table runs as select * from {reader}", [given])
    except duckdb.Error as error:
        raise PliantError(f"{path}: {_reason(error, path)}") from None
    names = connection.sql("select * from runs limit 0").columns
    if any("\0" in name for name in names):
        raise PliantError(f"{path}: holds NUL bytes, so it is no text table, or text in UTF-16; save it as UTF-8")
    if len(names) == 1 and kind in (".csv", ".tsv") and any(mark in names[0] for mark in ",;\t"):
        header = names[0][:MOST_WORDS]
        raise PliantError(f"{path}: its lines do not have the same number of fields as the first ({header})")
    if len(names) > MOST_COLUMNS:
        raise PliantError(f"{path}: has {len(names)} columns, {MOST_COLUMNS} at most can be read; keep the ones that the law needs")
    return writing


def _regular(path: Path, places: Sequence[Path]) -> None:
    if not places:
        raise PliantError(f"{path}: the folder holds no Parquet files")
    if strange := [place for place in places if not place.is_file()]:
        raise PliantError(f"{strange[0]}: is a folder, a pipe or a device, not a file")
    size = sum(place.stat().st_size for place in places)
    if size > MOST_BYTES:
        raise PliantError(
            f"{path}: {size / 1e9:.1f} GB are more than a table of runs can be ({MOST_BYTES / 1e9:.1f} GB); "
            "keep the rows and columns you need"
        )


def _literally(path: Path) -> str:
    """The path as a pattern that only it matches."""
    return re.sub(r"([\[*?])", r"[\1]", str(path))


def _written(connection: duckdb.DuckDBPyConnection, places: Sequence[str], kind: str) -> tuple[Writing, list[str]]:
    """How a file's numbers are written, and columns to be read as text, since 1.234 may be 1234 in them."""
    (found,) = connection.execute(
        f"select Delimiter, Columns from sniff_csv{READERS[kind].removeprefix('read_csv')}", [places[0]]
    ).fetchall()
    separator, columns = found
    if len(columns) > MOST_COLUMNS or (separator == "," and all(column["type"] != "VARCHAR" for column in columns)):
        return Writing(), []  # a machine wrote it
    connection.execute(f"create table written as select * from {READERS[kind][:-1]}, all_varchar = true)", [places])
    names = connection.sql("select * from written limit 0").columns
    cells = ['trim("' + name.replace('"', '""') + '")' for name in names]
    asked = [
        f"bool_or(regexp_full_match({cell}, {_text(pattern)}) and not regexp_full_match({cell}, {_text(OPEN)}))"
        for cell in cells
        for pattern in (COMMA, POINT)
    ]
    asked += [f"bool_or(regexp_full_match({cell}, {_text(OPEN)})) and bool_and(regexp_full_match({cell}, {_text(BARE)}))" for cell in cells]
    (answers,) = connection.execute(f"select {', '.join(asked)} from written").fetchall()
    connection.execute("drop table written")
    signs = {sign for sign, some in zip(",." * len(names), answers, strict=False) if some}
    writing = Writing(signs.pop() if len(signs) == 1 else None, semicolons=separator == ";")
    foreign = writing.decimal == "," or (writing.semicolons and writing.decimal is None)
    return writing, [name for name, bare in zip(names, answers[2 * len(names) :], strict=True) if bare and foreign]


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _reason(error: Exception, path: Path) -> str:
    """Why a file cannot be read, and what to do."""
    message = str(error)
    if path.is_file() and path.open("rb").read(2) in (b"\xff\xfe", b"\xfe\xff"):
        return f"the file is text in UTF-16; save it as CSV UTF-8, or convert it: iconv -f UTF-16 -t UTF-8 {path.name}"
    line = re.search(r"CSV Error on Line: ([0-9]+)", message)
    where = f"line {line[1]} " if line else "the file "
    if "not utf-8 encoded" in message or "Invalid unicode" in message:
        return (
            f"{where}is not UTF-8 text (it looks like Latin-1, as older spreadsheets write it); save it as CSV UTF-8, or "
            f"convert it: iconv -f LATIN1 -t UTF-8 {path.name}"
        )
    if "Maximum line size" in message:
        return f"{where}is longer than a line of a table can be (2 MB); is it a table?"
    if "Error when sniffing" in message:
        return "is no table of fields separated by commas, semicolons or tabs, as many in every line, with quotes that close"
    lines = [text for text in message.strip().splitlines() if text.strip() and not text.startswith("Original Line")]
    return ": ".join(lines[: 2 if line else 1])[:MOST_WORDS]


def first_line(error: Exception) -> str:
    """What DuckDB has to say, in one line of bounded length."""
    return str(error).strip().splitlines()[0][:MOST_WORDS]
