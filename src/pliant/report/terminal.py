"""The report in a terminal: a table with small curves, and each answer in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pliant.report.results import Results, gather
from pliant.report.sections.decisions import answer, common_caveats, groups, interval, signed

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from pliant.decide.curves.checkpoint import CheckpointDecision
    from pliant.ledger.ledger import Ledger
    from pliant.study.question import Row
    from pliant.study.runs import Runs

BARS = "▁▂▃▄▅▆▇█"
STYLES = {"degrades": "bold dark_orange3", "improves": "green", "plateau": "cyan", "undetermined": "dim"}


def print_report(source: Results | Runs | Ledger | str | Path, console: Console | None = None) -> None:
    """Print the decisions of a ledger, ladder by ladder. Raises PliantError for a folder that is no ledger."""
    from rich.console import Console
    from rich.markup import escape

    results = source if isinstance(source, Results) else gather(source)
    screen = console or Console()
    screen.print("[dim]Change, curve along the ladder, verdict, best checkpoint (interval), rise to the last one (90% interval)[/dim]")
    if results.undecided:
        screen.print(escape(results.undecided))
    for ladder in results.ladders:
        if len(results.ladders) > 1:
            screen.print(f"\n[bold]{escape(ladder.name)}[/bold]")
        for title, members in groups(ladder):
            screen.print(f"\n[bold]{escape(title)}[/bold]")
            screen.print(_table(members, screen.width))
        screen.print(f"\n[bold]{escape(answer(ladder))}[/bold]")
        for caveat in common_caveats(ladder):
            screen.print(f"[dim]· {escape(caveat)}[/dim]")
    for found in results.answers:
        screen.print(f"\n[bold]{escape((found.undecided and str(found)) or found.title)}[/bold]")
        for title, rows in found.tables.items():
            screen.print(_cells(title, rows))
    if results.failures:
        screen.print(f"[dark_orange3]{results.totals['failed']} records failed; `pliant show` says why.[/dark_orange3]")


def _table(members: Sequence[tuple[str, CheckpointDecision]], width: int) -> Table:
    """One group's rows, in columns that are as wide in every group."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column("change", width=max(10, min(28, width - 70)))
    for name, space in (("curve", 9), ("verdict", 12), ("best", 15)):
        table.add_column(name, width=space, no_wrap=True)
    table.add_column("rise", no_wrap=True)
    for name, found in members:
        rise = f"{signed(found.rise)} [{signed(found.rise_low)}, {signed(found.rise_high)}]"
        cells = [name, sparkline(found), found.verdict, interval(found), rise]
        table.add_row(*(Text(cell, style=STYLES[found.verdict] if place == 2 else "") for place, cell in enumerate(cells)))
    return table


def _cells(title: str, rows: Sequence[Row]) -> Table:
    """An answer's rows under the names of their columns."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="dim")
    for column in rows[0]:
        table.add_column(Text(column))
    for row in rows:
        table.add_row(*map(Text, row.values()))
    return table


def sparkline(found: CheckpointDecision) -> str:
    """The curve as bars, lower being a lower value; a mark follows the best checkpoint where the curve turns."""
    curve = found.evidence.curve
    bars = bar_heights([point.value for point in curve])
    place = next(number for number, point in enumerate(curve) if point.position == found.best)
    return bars[: place + 1] + "◂" + bars[place + 1 :] if found.verdict == "degrades" else bars


def bar_heights(values: Sequence[float]) -> str:
    """One block character per value, from the lowest to the highest."""
    low, span = min(values), (max(values) - min(values)) or 1.0
    return "".join(BARS[round((value - low) / span * (len(BARS) - 1))] for value in values)
