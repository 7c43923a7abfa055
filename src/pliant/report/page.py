"""The report of a ledger as one HTML file that holds everything: text, charts, their script (`pliant.webpage`)."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pliant.files import write_atomic
from pliant.report.parts import Figure, Folded, Gallery, Part, Section
from pliant.report.results import Results, gather
from pliant.report.sections import SECTIONS
from pliant.report.sections.decisions import answer
from pliant.webpage import render

if TYPE_CHECKING:
    from pliant.ledger.ledger import Ledger
    from pliant.study.runs import Runs


def report(source: Runs | Ledger | str | Path, out: str | Path) -> Path:
    """Write the report of a ledger to the HTML file `out`.

    Raises PliantError for a folder that is no ledger, and for a file that cannot be written.
    """
    target = Path(out)
    write_atomic(target, page(gather(source)))
    return target


def page(results: Results) -> str:
    """The whole HTML document."""
    sections = [section for make in SECTIONS if (section := make(results)) is not None]
    return document(results.name, [answer(ladder) for ladder in results.ladders] if len(results.ladders) == 1 else [], sections)


def document(name: str, answers: Sequence[str], sections: Sequence[Section]) -> str:
    """The HTML document of any sections, its answers first."""
    figures = [figure for section in sections for figure in _figures(section.parts)]
    return render(
        Path(__file__).parent / "page.html",
        [figure.spec for figure in figures],
        name=name,
        answers=answers,
        sections=sections,
        numbers={id(figure): number for number, figure in enumerate(figures)},
        identity=id,
        date=datetime.date.today().isoformat(),
    )


def _figures(parts: Sequence[Part]) -> list[Figure]:
    """Every chart, in the order of the page."""
    found: list[Figure] = []
    for part in parts:
        if isinstance(part, Figure):
            found.append(part)
        elif isinstance(part, Gallery):
            found.extend(part.figures)
        elif isinstance(part, Folded):
            found.extend(_figures(part.parts))
    return found
