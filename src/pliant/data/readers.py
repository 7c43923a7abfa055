"""Files to documents, streamed: plain text, JSON lines, JSON lists, Parquet and Arrow, compressed or not.

Whatever is wrong with a file becomes one line that names the file and, where there is one, the line or row.
"""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from pliant.data.fields import fields_for, text_of
from pliant.data.locate import LINES, TABLES, kind_of
from pliant.errors import PliantError
from pliant.progress import Advance

PIECE = 4096
"""Characters of the pieces that long texts are cut into, at a line's end in their second half where there is one."""
LONGEST = 16 * PIECE
"""Documents with more characters are cut into pieces, so that no held-out document is a large part of a corpus."""
_BLOCK = 1 << 20  # bytes


def read(paths: list[Path], field: str | None, advance: Advance = lambda amount: None) -> Iterator[str]:
    """Every document of the files, without those that hold only white space. `advance` is told the bytes read.

    A document longer than `LONGEST` is cut into pieces, and so is a plain text file that is the whole corpus.
    Raises PliantError for what cannot be read.
    """
    for path in paths:
        told = 0
        with _faults(path), path.open("rb") as raw:
            for text in _texts(path, raw, field, alone=len(paths) == 1):
                position = raw.tell()
                advance(position - told)
                told = position
                if text and not text.isspace():
                    yield text if text.isascii() else _well_formed(text)
            advance(path.stat().st_size - told)


def _texts(path: Path, raw: BinaryIO, field: str | None, alone: bool) -> Iterator[str]:
    kind = kind_of(path)
    if kind in TABLES:
        records = _table_rows(path, kind, field)
    elif kind in LINES:
        records = _json_records(path, _decompressed(path, raw))
    else:
        if field is not None:
            raise PliantError(f"{path}: is plain text, which has no fields; leave out field: {field}")
        yield from pieces(_decoded(path, _decompressed(path, raw)), 0 if alone else LONGEST)
        return
    unit = "row" if kind in TABLES else "line"
    for number, record in records:
        try:
            text = text_of(record, field)
        except PliantError as error:
            raise error.within(f"{path} {unit} {number}") from None
        yield from pieces((text,), LONGEST)


def pieces(blocks: Iterable[str], longest: int) -> Iterator[str]:
    """A text that arrives in blocks: whole, or cut into pieces of at most `PIECE` characters if longer than `longest`."""
    held: list[str] = []  # joined only once there is enough, so that many small blocks cost no more than few large ones
    size, cutting = 0, longest == 0
    for block in blocks:
        held.append(block)
        size += len(block)
        cutting = cutting or size > longest
        if cutting and size > PIECE:
            text, start = "".join(held), 0
            while size - start > PIECE:
                end = text.rfind("\n", start + PIECE // 2, start + PIECE) + 1 or start + PIECE
                yield text[start:end]
                start = end
            held, size = [text[start:]], size - start
    yield "".join(held)


def _decoded(path: Path, stream: IO[bytes]) -> Iterator[str]:
    """A plain text file in blocks, with every line end as a newline and no byte order mark."""
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8-sig")(), translate=True)
    lines = 1
    while block := stream.read(_BLOCK):
        try:
            yield decoder.decode(block)
        except UnicodeDecodeError as error:
            line = lines + bytes(error.object[: error.start]).count(b"\n")
            raise PliantError(
                f"{path} line {line}: is not UTF-8 text ({error.reason}); convert it, or name other files with a glob"
            ) from None
        lines += block.count(b"\n")
    try:
        yield decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise PliantError(f"{path} line {lines}: is not UTF-8 text (it ends within a character)") from None


def _json_records(path: Path, stream: IO[bytes]) -> Iterator[tuple[int, Any]]:
    """The records of a file of JSON lines or of one JSON list, with the line (or place in the list) of each."""
    for number, line in enumerate(stream, 1):
        if not line.strip():
            continue
        if number == 1 and line.lstrip(b"\xef\xbb\xbf \t").startswith(b"["):
            yield from enumerate(_parsed(path, 1, line + stream.read()), 1)
            return
        yield number, _parsed(path, number, line.rstrip())


def _parsed(path: Path, number: int, text: bytes) -> Any:
    try:
        return json.loads(text)
    except UnicodeDecodeError as error:
        line = number + text[: error.start].count(b"\n")
        raise PliantError(f"{path} line {line}: is not UTF-8 text ({error.reason})") from None
    except json.JSONDecodeError as error:
        line = number + error.lineno - 1
        raise PliantError(
            f"{path} line {line}: is not JSON ({error.msg}); a file holds one record a line, or one list of records"
        ) from None
    except RecursionError:
        raise PliantError(f"{path} line {number}: is nested too deeply") from None


def _table_rows(path: Path, kind: str, field: str | None) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a Parquet or Arrow file, reading the columns that are needed and no more than one batch at a time."""
    import pyarrow

    number = 0
    try:
        for batch in _parquet_batches(path, field) if kind == ".parquet" else _arrow_batches(path, field):
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise PliantError(f"{path}: is damaged or no {kind[1:]} file ({reason}); fetch it again") from None


def _parquet_batches(path: Path, field: str | None) -> Iterator[Any]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        yield from file.iter_batches(batch_size=1024, columns=_columns(path, file.schema_arrow.names, field))


def _arrow_batches(path: Path, field: str | None) -> Iterator[Any]:
    """Both of Arrow's formats: with a directory at the end (feather), and the plain stream that data sets are cached in."""
    import pyarrow

    with pyarrow.memory_map(str(path)) as source:
        if source.read(6) == b"ARROW1":
            reader = pyarrow.ipc.open_file(source)
            batches: Iterable[Any] = (reader.get_batch(index) for index in range(reader.num_record_batches))
        else:
            source.seek(0)
            batches = reader = pyarrow.ipc.open_stream(source)
        columns = _columns(path, reader.schema.names, field)
        for batch in batches:
            yield batch.select(columns)


def _columns(path: Path, names: list[str], field: str | None) -> list[str]:
    try:
        return list(dict.fromkeys(fields_for(tuple(names), field)))
    except PliantError as error:
        raise error.within(str(path)) from None


def _decompressed(path: Path, raw: BinaryIO) -> IO[bytes]:
    suffix = path.suffix.lower()
    if suffix == ".gz":
        return cast("IO[bytes]", gzip.open(raw))
    if suffix == ".xz":
        return lzma.open(raw)
    if suffix == ".zst":
        import pyarrow

        return io.BufferedReader(pyarrow.CompressedInputStream(pyarrow.PythonFile(raw, "r"), "zstd"), _BLOCK)
    return raw


@contextlib.contextmanager
def _faults(path: Path) -> Generator[None]:
    """Turns what the operating system and the decompressors complain of into a line a user can act on."""
    try:
        yield
    except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise PliantError(f"{path}: cannot be read ({error.strerror})") from None
        raise PliantError(f"{path}: is damaged or was cut short ({error}); fetch it again") from None


def _well_formed(text: str) -> str:
    """Lone surrogates, which JSON can spell and no UTF-8 text can hold, become U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
