"""Some of a file's records, written as they stand there, in the format they came in.

A line of JSON is copied byte for byte, a row of a table with all its columns, and a compressed file is compressed again. A CSV's quotes
and a JSON list's spaces may change, never what they hold. Where nothing is chosen there is no file.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import lzma
import shutil
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from pliant.data.decoding import blocks, decompressed, lines
from pliant.data.fields import Wanted
from pliant.data.left_out import Bad, tolerated
from pliant.data.locate import LINES, TABLES, kind_of
from pliant.data.readers import LONGEST, SEPARATED, pieces
from pliant.data.records import csv_records, delimiter, json_records, parsed
from pliant.data.rows import Everything
from pliant.data.tables import opened_arrow, table_batches
from pliant.errors import PliantError

ROWS = 1 << 16
"""Of a Parquet file's row groups."""

Choose = Callable[[Any], bool | str]
"""Whether a record (of a plain file: a piece of its text) is kept, or with which text in place of its own; asked once, in order."""


def write_chosen(path: Path, raw: Any, wanted: Wanted, choose: Choose, target: Path, alone: bool, bad: Bad) -> None:
    """Writes the chosen records of `path`, open as `raw`, to `target`; `alone` as in `readers.read`; `bad` is told of what cannot be read.

    Raises PliantError for what cannot be read, and for a new text where a record's text is made of several fields.
    """
    kind = kind_of(path)
    if kind == ".parquet":
        _parquet(path, wanted, choose, target, bad)
    elif kind in TABLES:
        _arrow(path, wanted, choose, target, bad)
    elif kind in LINES:
        _json(path, raw, wanted, choose, target, bad)
    elif kind in SEPARATED:
        _csv(path, raw, wanted, choose, target, bad)
    else:
        _text(path, raw, choose, target, alone, bad)


def _json(path: Path, raw: Any, wanted: Wanted, choose: Choose, target: Path, bad: Bad) -> None:
    listed = cast("Any", decompressed(path, raw)).read1(1 << 16).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")
    raw.seek(0)
    with _sink(path, target) as sink:
        if listed:
            for _, record in tolerated(json_records(path, decompressed(path, raw)), path, bad):
                if kept := choose(record):
                    sink.write((b",\n" if sink.used else b"[\n") + _dumped(path, record, wanted, kept))
            if sink.used:
                sink.write(b"\n]\n")
            return
        for number, line in tolerated(lines(path, decompressed(path, raw)), path, bad):
            try:
                record = parsed(path, number, line.rstrip())
            except PliantError as error:
                bad(error)
                continue
            try:
                kept = choose(record)
            except PliantError as error:
                raise error.within(f"{path} line {number}") from None
            if kept is True:
                sink.write(line if line.endswith(b"\n") else line + b"\n")
            elif kept:
                sink.write(_dumped(path, record, wanted, kept) + b"\n")


def _dumped(path: Path, record: Any, wanted: Wanted, kept: bool | str) -> bytes:
    return json.dumps(_with_text(path, record, wanted, kept)).encode()


def _csv(path: Path, raw: Any, wanted: Wanted, choose: Choose, target: Path, bad: Bad) -> None:
    mark = delimiter(path, decompressed(path, raw).readline().decode("utf-8-sig", "replace"))
    raw.seek(0)
    with _sink(path, target) as sink:
        for number, record in tolerated(csv_records(path, decompressed(path, raw), Everything(), bad), path, bad):
            try:
                kept = choose(record)
            except PliantError as error:
                raise error.within(f"{path} line {number}") from None
            if kept:
                text = io.StringIO()
                writer = csv.writer(text, delimiter=mark, lineterminator="\n")
                if not sink.used:
                    writer.writerow(record)
                writer.writerow(_with_text(path, record, wanted, kept).values())
                sink.write(text.getvalue().encode())


def _text(path: Path, raw: Any, choose: Choose, target: Path, alone: bool, bad: Bad) -> None:
    """A plain file: copied where all of it is kept."""
    whole = True

    def short(error: PliantError) -> None:
        nonlocal whole
        whole = False
        bad(error)

    with _sink(path, target) as sink:
        for piece in tolerated(pieces(blocks(path, decompressed(path, raw)), 0 if alone else LONGEST), path, short):
            if piece and not piece.isspace():
                if choose(piece):
                    sink.write(piece.encode())
                else:
                    whole = False
    if whole and target.exists():
        shutil.copyfile(path, target)


def _parquet(path: Path, wanted: Wanted, choose: Choose, target: Path, bad: Bad) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    batches = _chosen(path, ".parquet", wanted, choose, bad)
    first = next(batches, None)
    if first is None:
        return
    with parquet.ParquetFile(path) as file:
        schema, packing = file.schema_arrow, file.metadata.row_group(0).column(0).compression.lower()
    with parquet.ParquetWriter(target, schema, compression="none" if packing == "uncompressed" else packing) as writer:
        held = [first]
        for batch in batches:
            held.append(batch)
            if sum(map(len, held)) >= ROWS:
                writer.write_table(pa.Table.from_batches(held, schema))
                held = []
        if held:
            writer.write_table(pa.Table.from_batches(held, schema))


def _arrow(path: Path, wanted: Wanted, choose: Choose, target: Path, bad: Bad) -> None:
    import pyarrow as pa

    batches = _chosen(path, ".arrow", wanted, choose, bad)
    first = next(batches, None)
    if first is None:
        return
    with opened_arrow(path) as (schema, _, filed):
        made = pa.ipc.new_file if filed else pa.ipc.new_stream
    with made(str(target), schema) as writer:
        writer.write_batch(first)
        for batch in batches:
            writer.write_batch(batch)


def _chosen(path: Path, kind: str, wanted: Wanted, choose: Choose, bad: Bad) -> Iterator[Any]:
    """Batches of a table's chosen rows, those that are not empty."""
    import pyarrow as pa

    for batch in tolerated(table_batches(path, kind, Everything()), path, bad):
        records = batch.select(wanted.columns(batch.schema.names)).to_pylist()
        kept = [choose(record) for record in records]
        if renewed := {row: text for row, text in enumerate(kept) if isinstance(text, str)}:
            name = _field(path, records[0], wanted)
            texts = [renewed.get(row, record[name]) for row, record in enumerate(records)]
            place = batch.schema.get_field_index(name)
            batch = batch.set_column(place, batch.schema.field(place), pa.array(texts, batch.schema.field(place).type))
        if any(kept):
            yield batch.filter(pa.array([bool(new) for new in kept]))


def _with_text(path: Path, record: Any, wanted: Wanted, kept: bool | str) -> Any:
    if kept is True:
        return record
    return kept if isinstance(record, str) else {**record, _field(path, record, wanted): kept}


def _field(path: Path, record: Mapping[str, Any], wanted: Wanted) -> str:
    """The one field that holds a record's text."""
    names = wanted.columns(list(record))
    if wanted.template or len(names) != 1:
        raise PliantError(f"{path}: a document longer than {LONGEST} characters is kept in part, and its text is made of several fields")
    return names[0]


class _Sink:
    """A file that is there once something was written to it, compressed as its name says."""

    def __init__(self, target: Path, suffix: str) -> None:
        self._target, self._suffix = target, suffix
        self.stream: IO[bytes] | Any = None

    @property
    def used(self) -> bool:
        return self.stream is not None

    def write(self, content: bytes) -> None:
        if self.stream is None:
            self.stream = self._opened()
        self.stream.write(content)

    def _opened(self) -> Any:
        if self._suffix == ".gz":
            return gzip.open(self._target, "wb")
        if self._suffix == ".xz":
            return lzma.open(self._target, "wb")
        if self._suffix == ".zst":
            import pyarrow

            return pyarrow.CompressedOutputStream(str(self._target), "zstd")
        return self._target.open("wb")


@contextmanager
def _sink(path: Path, target: Path) -> Generator[_Sink]:
    sink = _Sink(target, path.suffix.lower())
    try:
        yield sink
    finally:
        if sink.stream is not None:
            sink.stream.close()
