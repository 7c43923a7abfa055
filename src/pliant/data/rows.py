"""Records of files as they are, every field of them: JSON lines, JSON lists, CSV, Parquet and Arrow, compressed or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

from pliant.data.content import regular
from pliant.data.decoding import decompressed, faults
from pliant.data.fields import Wanted
from pliant.data.left_out import Bad, refuse, tolerated
from pliant.data.locate import LINES, TABLES, kind_of, locate
from pliant.data.records import csv_records, json_records
from pliant.data.tables import table_rows
from pliant.errors import PliantError

SEPARATED = (".csv", ".tsv")


class Everything(Wanted):
    """Asks for every field."""

    def __init__(self) -> None:
        super().__init__(None)

    def columns(self, names: Sequence[str], whose: str = "column") -> list[str]:
        """All of them. Raises PliantError where two have one name."""
        for name in names:
            if names.count(name) > 1:
                raise PliantError(f"{names.count(name)} {whose}s are called {name[:40]!r}; rename all but one")
        return list(names)


def rows(paths: Sequence[Path], bad: Bad = refuse) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every record with the place it stands at (`data.jsonl line 3`).

    Raises PliantError for what cannot be read, for text without fields, and for a record that is no mapping of fields, unless `bad` has
    that left out.
    """
    for where, record in records(paths, bad):
        if isinstance(record, Mapping):
            yield where, record
        else:
            bad(PliantError(f"{where}: a record must be a mapping of fields, such as question and answer"))


def first_record(source: str) -> Mapping[str, Any] | None:
    """The fields of a source's first record; None of text, and of records without fields. Raises PliantError for what cannot be read."""
    paths = [] if source.startswith("builtin:") else locate(source)
    if not paths or kind_of(paths[0]) not in (*LINES, *TABLES, *SEPARATED):
        return None
    _, record = next(records(paths[:1]), ("", None))
    return cast("Mapping[str, Any]", record) if isinstance(record, Mapping) else None


def records(paths: Sequence[Path], bad: Bad = refuse) -> Iterator[tuple[str, Any]]:
    """The same of records that may be anything; `bad` is told of what cannot be read."""
    for path in paths:
        if not regular(path).st_size:
            continue
        with faults(path), path.open("rb") as raw:
            unit, found = _rows(path, raw, bad)
            for number, record in tolerated(found, path, bad):
                yield f"{path} {unit} {number}", record


def _rows(path: Path, raw: BinaryIO, bad: Bad) -> tuple[str, Iterator[tuple[int, Any]]]:
    kind = kind_of(path)
    if kind in TABLES:
        return "row", table_rows(path, kind, Everything())
    if kind in LINES:
        return "line", json_records(path, decompressed(path, raw), bad)
    if kind in SEPARATED:
        return "line", csv_records(path, decompressed(path, raw), Everything(), bad)
    raise PliantError(f"{path}: is no table of records; give JSONL, JSON, CSV, TSV, Parquet or Arrow")
