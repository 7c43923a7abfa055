"""Rows of Parquet and Arrow files: the columns that are needed, and no more than one batch at a time."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pliant.data.fields import Wanted
from pliant.errors import PliantError


def table_rows(path: Path, kind: str, wanted: Wanted) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows with their numbers. Raises PliantError for a damaged file and for columns that are not there."""
    number = 0
    for batch in table_batches(path, kind, wanted):
        with _damage(path, kind):
            rows = batch.to_pylist()
        for row in rows:
            number += 1
            yield number, row


def table_batches(path: Path, kind: str, wanted: Wanted) -> Iterator[Any]:
    """Record batches of the wanted columns. Raises PliantError for a damaged file and for columns that are not there."""
    with _damage(path, kind):
        for batch in _parquet_batches(path, wanted) if kind == ".parquet" else _arrow_batches(path, wanted):
            batch.validate(full=True)  # also that text is UTF-8
            yield batch


@contextmanager
def _damage(path: Path, kind: str) -> Generator[None]:
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError, KeyError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise PliantError(f"{path}: is damaged or no {kind[1:]} file ({reason}); fetch it again") from None


def _parquet_batches(path: Path, wanted: Wanted) -> Iterator[Any]:
    from pyarrow import parquet

    with parquet.ParquetFile(path, page_checksum_verification=True) as file:
        yield from file.iter_batches(batch_size=1024, columns=_columns(path, file.schema_arrow.names, wanted))


def _arrow_batches(path: Path, wanted: Wanted) -> Iterator[Any]:
    with opened_arrow(path) as (schema, batches, _):
        columns = _columns(path, schema.names, wanted)
        for batch in batches:
            yield batch.select(columns)


@contextmanager
def opened_arrow(path: Path) -> Generator[tuple[Any, Iterable[Any], bool]]:
    """Schema and batches of a file in either of Arrow's formats, and whether it is the one with a directory at its end (feather).

    The other is the plain stream that data sets are cached in.
    """
    import pyarrow

    with pyarrow.memory_map(str(path)) as source:
        if source.read(6) == b"ARROW1":
            reader = pyarrow.ipc.open_file(source)
            yield reader.schema, (reader.get_batch(index) for index in range(reader.num_record_batches)), True
        else:
            source.seek(0)
            stream = pyarrow.ipc.open_stream(source)
            yield stream.schema, stream, False


def _columns(path: Path, names: list[str], wanted: Wanted) -> list[str]:
    try:
        return wanted.columns(names)
    except PliantError as error:
        raise error.within(str(path)) from None
