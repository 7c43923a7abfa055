"""Records of text files: JSON lines, a JSON list, and tables of comma- or tab-separated values."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from pliant.data.decoding import LONGEST_LINE, blocks, lines, not_utf8, text_lines
from pliant.data.fields import TEXT_FIELDS, Wanted
from pliant.data.left_out import Bad, refuse
from pliant.errors import PliantError
from pliant.spec.yaml import parse_json

LARGEST_LIST = 1 << 30
"""Bytes of the largest file that is one JSON list, which is held in memory whole."""
_ADVICE = "a file holds one record a line, or one list of records"


def json_records(path: Path, stream: IO[bytes], bad: Bad = refuse) -> Iterator[tuple[int, Any]]:
    """The records of a file of JSON lines or of one JSON list, with the line (or place in the list) of each; `bad` is told of bad lines."""
    first = True
    for number, line in lines(path, stream):
        if first and line.lstrip().startswith(b"["):
            rest = stream.read(LARGEST_LIST - len(line) + 1)
            if len(rest) > LARGEST_LIST - len(line):
                raise PliantError(f"{path}: is larger than a list can be ({LARGEST_LIST / 1e9:.1f} GB); write one record a line")
            yield from enumerate(parsed(path, number, line + rest), 1)
            return
        first = False
        try:
            record = parsed(path, number, line.rstrip())
        except PliantError as error:
            bad(error)
        else:
            yield number, record


def parsed(path: Path, number: int, content: bytes) -> Any:
    """What a line says, or a list that begins on it. Raises PliantError for what is no JSON."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise not_utf8(path, number + content.count(b"\n", 0, error.start), error) from None
    try:
        if "\n" in text:  # a list: JSON's own line numbers, with the empty lines before it
            return parse_json("\n" * (number - 1) + text, str(path), halves=True)
        return parse_json(text, f"{path} line {number}", halves=True)
    except PliantError as error:
        told = str(error) if "\n" in text else str(error).replace(" line 1 column", " column")
        raise PliantError(f"{told}; {_ADVICE}") from None


def csv_records(path: Path, stream: IO[bytes], wanted: Wanted, bad: Bad = refuse) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a table, with the line on which each ends. The first row names the columns; an empty cell is no text.

    `bad` is told of rows with more or fewer cells.
    """
    found = text_lines(blocks(path, stream))
    header = next(found, "")
    csv.field_size_limit(LONGEST_LINE)
    reader = csv.reader(_with(header, found), delimiter=delimiter(path, header), strict=True)
    try:
        names = next(reader, [])
        needed = _columns(path, names, wanted)
        for cells in reader:
            if cells and len(cells) != len(names):
                bad(
                    PliantError(
                        f"{path} line {reader.line_num}: has {len(cells)} cells where the first row has {len(names)}; "
                        "put cells that hold the separator or a line end between double quotes"
                    )
                )
            elif cells:
                yield reader.line_num, {name: cells[place] for name, place in needed.items()}
    except csv.Error as error:
        raise PliantError(f"{path} line {reader.line_num}: is no such table ({error}); a quote may be open since an earlier line") from None


def _columns(path: Path, names: list[str], wanted: Wanted) -> dict[str, int]:
    """Where the needed columns are. An only column needs a usual name or to be named: without a header it would be a text itself."""
    if not names:
        return {}
    try:
        found = wanted.columns(names)
        if len(names) == 1 and not wanted.named and names[0] not in TEXT_FIELDS:
            raise PliantError(f"is a table whose only column is called {names[0][:40]!r}; say field: NAME, or rename it text")
    except PliantError as error:
        raise error.within(str(path)) from None
    return {name: names.index(name) for name in found}


def delimiter(path: Path, header: str) -> str:
    """What separates the names of the first row."""
    return "\t" if ".tsv" in path.suffixes[-2:] else max(",;\t|", key=header.count)


def _with(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest
