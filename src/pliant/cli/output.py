"""What commands print: one JSON document, or a table for people."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pliant.errors import PliantError, visible
from pliant.progress import say

if TYPE_CHECKING:
    from rich.console import Console

WIDE = 10_000
"""Characters of a line where no terminal is; longer than any answer."""


def print_json(value: Any) -> None:
    """One JSON document on standard output. NaN and infinities become null, since JSON has neither."""
    narrow = not str(sys.stdout.encoding).lower().startswith("utf")
    print(json.dumps(_plain(value), indent=2, ensure_ascii=narrow, allow_nan=False, default=str))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy's arrays and scalars
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None) -> None:
    """A plain table on standard output: fitted to a terminal, and elsewhere one whole line a record, so that nothing is cut in logs."""
    rows = [[visible(" ".join(cell.splitlines())) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        lines = [list(columns), *rows]
        widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
        padded = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
        print(*([title] if title else []), *padded, sep="\n")
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, box=None, pad_edge=False, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    screen().print(table)


def screen() -> Console:
    """Where rich prints: as wide as the terminal, and elsewhere so wide that nothing is cut or wrapped."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=WIDE)


def renamed(old: str, new: str, given: Any, value: Any) -> Any:
    """What was given to the flag `new`, or to `old`, its name until the next version. Raises PliantError for both."""
    if given is None:
        return value
    if value is not None:
        raise PliantError(f"{old} is the old name of {new}: give {new} alone")
    note(f"pliant: {old} is now called {new}; the old name goes with the next version")
    return given


def note(text: str) -> None:
    """A remark for people, on standard error, so that standard output stays what the command promised."""
    say(text)
