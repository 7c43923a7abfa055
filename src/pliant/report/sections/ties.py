"""Which checkpoints cannot be told apart from the best."""

from __future__ import annotations

from pliant.report.parts import Cell, Section, TablePart
from pliant.report.results import Results

SHOWN = 6
LEAD = (
    "By every sample that two checkpoints share: those listed may be the best, at 90% for all of them at once. A measure tells "
    "checkpoints apart as well as their spread is above what one differs by from itself."
)


def may_be_best(results: Results) -> Section | None:
    """The checkpoints of the first rank, after each change."""
    if not results.ties:
        return None
    rows: list[list[Cell]] = []
    for found in results.ties:
        names = ", ".join(found.best[:SHOWN]) + (f" and {len(found.best) - SHOWN} more" if len(found.best) > SHOWN else "")
        ratio = "" if found.ratio is None else f"{found.ratio:.1f}"
        rows.append([found.measure, found.change, names, f"{len(found.best)} of {found.count}", ratio])
    return Section(
        "What may be best", LEAD, [TablePart(["Measure", "After", "Checkpoints", "", "Spread over noise"], rows, frozenset({4}))]
    )
