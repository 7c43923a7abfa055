"""Numbers as people write them: 1,400,000 and 1.400.000, 5,497 and 5.497, 70M; one reading for a whole column.

Idea: a comma before three digits sets off thousands in one country and decimals in the next, and a cell alone cannot say
which. So each cell votes: `5,06` and `1.234,5` can only be read with a decimal comma, `2.5` and `1,400,000` only with a decimal
point, `5,497` with both. Where all votes of a column agree, that is how it is read. Where no cell decides, the file does: the
decimal sign of its other columns, and the semicolon that spreadsheets put between fields where the comma is the decimal
sign. Columns of counts expect whole numbers, others hardly ever thousands. What stays open is an error that says how to write it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pliant.errors import PliantError
from pliant.numbers import parse_count

OPEN = r"[+-]?[1-9][0-9]{0,2}([,.])[0-9]{3}"
"""Cells that both readings understand, differently."""
COMMA = r"[+-]?([0-9]*,[0-9]+|[1-9][0-9]{0,2}(\.[0-9]{3})+,[0-9]+|[1-9][0-9]{0,2}(\.[0-9]{3}){2,})([eE][+-]?[0-9]+)?"
"""Cells, those of `OPEN` apart, whose decimal sign can only be a comma; `POINT` likewise."""
POINT = r"[+-]?([0-9]*\.[0-9]+|[1-9][0-9]{0,2}(,[0-9]{3})+\.[0-9]+|[1-9][0-9]{0,2}(,[0-9]{3}){2,})([eE][+-]?[0-9]+)?"
SUFFIX = r"\s*[kKmMbBgGtT]?"
SPACED = re.compile(r"[+-]?[1-9][0-9]{0,2}([ '_\u00a0\u2009\u202f\u2019])[0-9]{3}(?:\1[0-9]{3})*(?![0-9])")
"""Thousands set off by what is never a decimal sign."""


@dataclass(frozen=True)
class Writing:
    """What a file says about how its numbers are written."""

    decimal: str | None = None
    """The decimal sign that its columns show; None: they show none, or both."""
    semicolons: bool = False
    """Whether its fields are separated by semicolons."""


def shows(text: str) -> str | None:
    """The decimal sign that a cell shows: `,` or `.`, `?` where it can be either, None where it has none."""
    whole = _without_spaces(text)
    plain = re.sub(SUFFIX + "$", "", whole)
    if re.fullmatch(OPEN, plain):
        return "." if "." in plain and plain != whole else "?"  # nobody groups the thousands of 1.234M
    return "," if re.fullmatch(COMMA, plain) else "." if re.fullmatch(POINT, plain) else None


def decimal_sign(name: str, cells: Sequence[str | None], counts: bool, file: Writing) -> str:
    """The decimal sign of a column, `.` or `,`. Raises PliantError, with the row, where it is mixed or stays open."""
    first: dict[str, int] = {}
    for row, cell in enumerate(cells):
        vote = None if cell is None else shows(cell)
        if vote == "?":
            vote = "?," if "," in str(cell) else "?."
        if vote is not None:
            first.setdefault(vote, row)
    if "," in first and "." in first:
        comma, point = (cells[first[sign]] for sign in ",.")
        raise PliantError(
            f"column {name}: row {first[','] + 1} holds {shown(comma)}, with a decimal comma, and row {first['.'] + 1} {shown(point)}, "
            "with a point; write all of them with a point, and thousands without any sign"
        )
    sign = next((sign for sign in ",." if sign in first), None)
    for doubtful in ("?,", "?."):
        if doubtful in first:
            sign = _settled(doubtful[1], sign, cells, counts, file, both={"?,", "?."} <= set(first))
            if sign is None:
                raise _undecided(name, first[doubtful], str(cells[first[doubtful]]).strip())
    return sign or "."


def _undecided(name: str, row: int, cell: str) -> PliantError:
    thousands, decimals = (re.sub("[,.]", sign, cell) for sign in ("", "."))
    return PliantError(
        f"column {name}: row {row + 1} holds {shown(cell)}, which can be {thousands} or {decimals}, and nothing in the table tells "
        "which; write decimals with a point, and thousands without any sign"
    )


def _settled(found: str, sign: str | None, cells: Sequence[str | None], counts: bool, file: Writing, both: bool) -> str | None:
    """The decimal sign of a column with cells such as `5,497` (`found` is their sign), given what its other cells show."""
    other = "." if found == "," else ","
    if sign == found:
        return sign
    if sign == other:  # so `found` groups thousands here; of what are no counts only where another cell is grouped alike
        grouped = any(cell is not None and shows(cell) == other and found in cell for cell in cells)
        return other if counts or grouped else None
    if both:
        return None
    comma_file = file.decimal == "," or (file.decimal is None and file.semicolons)
    if found == ",":
        return ("." if not comma_file else None) if counts else ("," if comma_file else None)
    if counts:
        return file.decimal or (None if file.semicolons else ".")
    return None if file.decimal == "," else "."


def number(text: str, decimal: str, counts: bool) -> float | None:
    """What a cell says under a decimal sign, 70M where it is a count; None where it is no number."""
    group, plain = ("," if decimal == "." else "."), _without_spaces(text)
    if group in plain:
        if not re.fullmatch(rf"[+-]?[1-9][0-9]{{0,2}}({re.escape(group)}[0-9]{{3}})+({re.escape(decimal)}[0-9]+)?{SUFFIX}", plain):
            return None
        plain = plain.replace(group, "")
    plain = plain.replace(decimal, ".")
    try:
        return float(plain)
    except ValueError:
        try:
            return float(parse_count(plain)) if counts else None
        except (ValueError, OverflowError):
            return None


def _without_spaces(text: str) -> str:
    """The cell with a plain minus, and without the spaces or apostrophes that set off its thousands."""
    plain = text.strip().replace("\u2212", "-")
    found = SPACED.match(plain)
    return re.sub(f"[{re.escape(found[1])}]", "", found[0]) + plain[found.end() :] if found else plain


def shown(cell: object) -> str:
    """A cell as an error shows it."""
    text = repr(cell)
    return text if len(text) <= 40 else f"{text[:36]} ...{text[-1]}"
