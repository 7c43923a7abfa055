"""Rows of Parquet and Arrow files: the columns that are needed, and no more than one batch at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pliant.data.fields import Wanted
from pliant.errors import PliantError


def table_rows(path: Path, kind: str, wanted: Wanted) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows with their numbers. Raises PliantError for a damaged file and for columns that are not there."""
    import pyarrow

    number = 0
    try:
        for batch in _parquet_batches(path, wanted) if kind == ".parquet" else _arrow_batches(path, wanted):
            batch.validate(full=True)  # also that text is UTF-8
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError, KeyError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise PliantError(f"{path}: is damaged or no {kind[1:]} file ({reason}); fetch it again") from None


def _parquet_batches(path: Path, wanted: Wanted) -> Iterator[Any]:
    from pyarrow import parquet

    with parquet.ParquetFile(path, page_checksum_verification=True) as file:
        yield from file.iter_batches(batch_size=1024, columns=_columns(path, file.schema_arrow.names, wanted))


def _arrow_batches(path: Path, wanted: Wanted) -> Iterator[Any]:
    """Both of Arrow's formats: with a directory at the end (feather), and the plain stream that data sets are cached in."""
    import pyarrow

    with pyarrow.memory_map(str(path)) as source:
        if source.read(6) == b"ARROW1":
            reader = pyarrow.ipc.open_file(source)
            batches: Iterable[Any] = (reader.get_batch(index) for index in range(reader.num_record_batches))
        else:
            source.seek(0)
            batches = reader = pyarrow.ipc.open_stream(source)
        columns = _columns(path, reader.schema.names, wanted)
        for batch in batches:
            yield batch.select(columns)


def _columns(path: Path, names: list[str], wanted: Wanted) -> list[str]:
    try:
        return wanted.columns(names)
    except PliantError as error:
        raise error.within(str(path)) from None
