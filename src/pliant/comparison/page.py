"""A comparison as HTML: a fragment for notebooks, and a page that holds everything."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from html import escape
from pathlib import Path

from pliant.comparison.row import Row
from pliant.comparison.signal import Signal
from pliant.comparison.words import answer_lines, lines, table
from pliant.files import write_atomic
from pliant.webpage import legible, render


def fragment(rows: Sequence[Row], notes: Sequence[str], signals: Sequence[Signal] = ()) -> str:
    """The answer and its table, escaped, without styles of its own."""
    headings, cells = table(rows)
    answers = answer_lines(rows)
    said = "".join(f"<p><strong>{escape(line)}</strong></p>" for line in answers)
    said += f"<ul>{''.join(f'<li>{escape(line.strip())}</li>' for line in lines(rows, notes, signals)[len(answers) :])}</ul>"
    head = "".join(f"<th>{escape(name)}</th>" for name in headings)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in line)}</tr>" for line in cells)
    return legible(f"{said}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")


def write_page(rows: Sequence[Row], notes: Sequence[str], systems: Sequence[str], out: Path, signals: Sequence[Signal] = ()) -> None:
    """The page, with the items that went the other way. Raises PliantError for a file that cannot be written."""
    headings, cells = table(rows)
    answers = answer_lines(rows)
    page = render(
        Path(__file__).parent / "page.html",
        [],
        systems=systems,
        answers=answers,
        facts=[line.strip() for line in lines(rows, notes, signals)[len(answers) :]],
        headings=headings,
        rows=list(zip(rows, cells, strict=True)),
        flipped=[row for row in rows if row.flips],
        date=datetime.date.today().isoformat(),
    )
    write_atomic(out, page)
