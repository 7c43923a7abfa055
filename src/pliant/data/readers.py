"""Files to documents, streamed: plain text, JSON lines, JSON lists, CSV, Parquet and Arrow, compressed or not.

Whatever is wrong with a file becomes one line that names the file and, where there is one, the line or row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from pliant.data.content import changed, regular
from pliant.data.decoding import blocks, decompressed, faults, refuse_binary
from pliant.data.fields import Wanted
from pliant.data.left_out import LeftOut, tolerated
from pliant.data.locate import LINES, TABLES, kind_of
from pliant.data.records import csv_records, json_records
from pliant.data.tables import table_rows
from pliant.errors import PliantError
from pliant.progress import Advance

PIECE = 4096
"""Characters of the pieces that long texts are cut into, at a line's end in their second half where there is one."""
LONGEST = 16 * PIECE
"""Documents with more characters are cut into pieces, so that no held-out document is a large part of a corpus."""
SEPARATED = (".csv", ".tsv")
"""Tables that are text."""


def read(
    paths: list[Path], field: str | None, advance: Advance = lambda amount: None, left: LeftOut | None = None
) -> Iterator[str]:  # fmt: skip
    """Every document of the files, without those that hold only white space. `advance` is told the bytes read.

    A document longer than `LONGEST` is cut into pieces, and so is a plain text file that is the whole corpus. `left` is told of both,
    and of what cannot be read: without it, or unless it has that left out, PliantError is raised.
    """
    wanted, left = Wanted(field), left or LeftOut()
    for path in paths:
        told, size = 0, regular(path).st_size
        if not size:  # some files of the system's say so and never end
            left.add("empty", f"{path}: holds no text")
            continue
        with faults(path), path.open("rb") as raw:
            for text in tolerated(_texts(path, raw, wanted, len(paths) == 1, left), path, left.rest):
                position = raw.tell()
                if position > size:
                    raise changed(path)
                advance(position - told)
                told = position
                yield text if text.isascii() else well_formed(text)
            advance(size - told)
    try:
        wanted.check()
    except PliantError as error:
        raise error.within(str(paths[0])) from None


def glance(path: Path) -> None:
    """A look at a file's beginning, before gigabytes are read in vain. Raises PliantError for what is plainly not of its kind."""
    if not regular(path).st_size:
        return
    with faults(path), path.open("rb") as raw:
        if kind_of(path) not in TABLES:
            refuse_binary(path, decompressed(path, raw).read(1 << 16))
        elif not any(raw.read(64)):
            raise PliantError(f"{path}: is damaged or no {kind_of(path)[1:]} file (it begins with nothing but zeros); fetch it again")


def _texts(path: Path, raw: BinaryIO, wanted: Wanted, alone: bool, left: LeftOut) -> Iterator[str]:
    kind = kind_of(path)
    if kind in TABLES:
        unit, records = "row", table_rows(path, kind, wanted)
    elif kind in LINES:
        unit, records = "line", json_records(path, decompressed(path, raw), left.bad)
    elif kind in SEPARATED:
        unit, records = "line", csv_records(path, decompressed(path, raw), wanted, left.bad)
    elif wanted.named:
        raise PliantError(f"{path}: is plain text, which has no fields; leave out field: {wanted.named[0][:40]}")
    else:
        yield from _noted(pieces(blocks(path, decompressed(path, raw)), 0 if alone else LONGEST), str(path), left)
        return
    for number, record in records:
        try:
            text = wanted.text(record)
        except PliantError as error:
            left.bad(error.within(f"{path} {unit} {number}"))
            continue
        yield from _noted(pieces((text,), LONGEST), f"{path} {unit} {number}", left)


def _noted(found: Iterator[str], where: str, left: LeftOut) -> Iterator[str]:
    """The pieces of one document that hold text."""
    count = 0
    for piece in found:
        if piece and not piece.isspace():
            count += 1
            yield piece
    if count == 0:
        left.add("empty", f"{where}: holds no text")
    elif count > 1:
        left.add("cut", f"{where}: is long, and is read in {count:,} pieces")


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


def well_formed(text: str) -> str:
    """Lone surrogates, which JSON can spell and no UTF-8 text can hold, become U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
