"""Bytes to text: decompression, and UTF-8 in blocks or lines, none of them without bound.

A compressed file says nothing of how much comes out of it, so bounds are on what comes out.
"""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import lzma
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO, BinaryIO, cast

from pliant.errors import PliantError

LONGEST_LINE = 1 << 28
"""Bytes of the longest line, which must fit in memory several times over."""
EMPTY_LINES = 1_000_000
"""Most empty lines in a row between records: a few bytes can be unpacked into endless ones."""
_BLOCK = 1 << 20  # bytes
_BOM = codecs.BOM_UTF8
_NO_TEXT = {
    codecs.BOM_UTF16_LE: "UTF-16 text; convert it: iconv -f UTF-16 -t UTF-8 FILE > NEW",
    codecs.BOM_UTF16_BE: "UTF-16 text; convert it: iconv -f UTF-16 -t UTF-8 FILE > NEW",
    b"\x1f\x8b": "gzip data; let its name end in .gz",
    b"\xfd7zXZ\0": "xz data; let its name end in .xz",
    b"\x28\xb5\x2f\xfd": "zstandard data; let its name end in .zst",
    b"BZh": "bzip2 data; unpack it first",
    b"PK\x03\x04": "a zip archive; unpack it first",
    b"%PDF": "a PDF document; extract its text first",
    b"PAR1": "a Parquet table; let its name end in .parquet",
}
"""How files begin that are no UTF-8 text, and what to do."""


def decompressed(path: Path, raw: BinaryIO) -> IO[bytes]:
    """The bytes that a file's suffix says are inside."""
    suffix = path.suffix.lower()
    if suffix == ".gz":
        return cast("IO[bytes]", gzip.open(raw))
    if suffix == ".xz":
        return lzma.open(raw, format=lzma.FORMAT_XZ)  # zeros are endless empty files of its older format
    if suffix == ".zst":
        import pyarrow

        return io.BufferedReader(pyarrow.CompressedInputStream(pyarrow.PythonFile(raw, "r"), "zstd"), _BLOCK)
    return raw


def blocks(path: Path, stream: IO[bytes]) -> Iterator[str]:
    """A text in blocks, with every line end as a newline and no byte order mark. Raises PliantError for what is no text."""
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8-sig")(), translate=True)
    lines, held = 1, 0
    while block := stream.read(_BLOCK):
        refuse_binary(path, block, lines if lines > 1 or held else 0)
        try:
            yield decoder.decode(block)
        except UnicodeDecodeError as error:
            yield decoder.decode(block[: max(0, error.start + len(block) - len(error.object))])  # for who makes do with what is text
            raise not_utf8(path, lines + bytes(error.object[: error.start]).count(b"\n"), error) from None
        lines += block.count(b"\n")
        held = len(block) - 1 - block.rfind(b"\n") if b"\n" in block else held + len(block)
        if held > LONGEST_LINE:
            raise _too_long(path, lines)
    try:
        yield decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise not_utf8(path, lines, error) from None


def lines(path: Path, stream: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """The lines that are not empty, with their numbers. Raises PliantError for one too long to be held, and endless empty ones."""
    number = last = 0
    while line := stream.readline(LONGEST_LINE + 1):
        number += 1
        if number == 1:
            refuse_binary(path, line)
            line = line.removeprefix(_BOM)
        if len(line) > LONGEST_LINE:
            raise _too_long(path, number)
        if line.strip():
            last = number
            yield number, line
        elif number - last > EMPTY_LINES:
            raise PliantError(f"{path} line {number}: a million empty lines in a row; is this the file you mean?")


def text_lines(pieces: Iterator[str]) -> Iterator[str]:
    """The lines, line ends kept, of text that arrives in blocks."""
    held: list[str] = []
    for piece in pieces:
        *whole, rest = piece.split("\n")
        for line in whole:
            yield "".join([*held, line, "\n"])
            held = []
        held.append(rest)
    if any(held):
        yield "".join(held)


def not_utf8(path: Path, line: int, error: UnicodeDecodeError) -> PliantError:
    """What is wrong with bytes that are no UTF-8, and what they would be in the encoding they most likely have."""
    if error.reason == "unexpected end of data":
        return PliantError(f"{path} line {line}: is not UTF-8 text (it ends within a character); was it cut short?")
    byte = bytes(error.object[error.start : error.start + 1])
    return PliantError(
        f"{path} line {line}: is not UTF-8 text (byte 0x{byte.hex()}: {error.reason}). If it is Latin-1 or Windows-1252, where that "
        f"is {byte.decode('latin-1')!r}, convert it: iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW; else name other files with a glob"
    )


@contextlib.contextmanager
def faults(path: Path) -> Generator[None]:
    """Turns what the operating system and the decompressors complain of into a line a user can act on."""
    try:
        yield
    except MemoryError:
        raise PliantError(f"{path}: needs more memory than there is; split it into smaller files") from None
    except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise PliantError(f"{path}: cannot be read ({error.strerror})") from None
        raise PliantError(f"{path}: is damaged or was cut short ({error}); fetch it again") from None


def refuse_binary(path: Path, block: bytes, line: int = 0) -> None:
    """Raises PliantError for bytes that are no text. `line` is that of the block's beginning, 0 for the file's own."""
    for magic, what in _NO_TEXT.items() if line == 0 else ():
        if block.startswith(magic):
            raise PliantError(f"{path}: is {what.replace('FILE', path.name)}")
    if (place := block.find(b"\0")) >= 0:
        line = max(line, 1) + block.count(b"\n", 0, place)
        raise PliantError(f"{path} line {line}: holds a NUL byte, so it is no UTF-8 text; name other files with a glob, or convert it")


def _too_long(path: Path, line: int) -> PliantError:
    return PliantError(f"{path} line {line}: is longer than a line can be ({LONGEST_LINE / 1e6:.0f} MB); cut its text into several")
