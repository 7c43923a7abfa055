"""`pliant report DIR`: a ledger as one HTML page, and in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pliant.cli.change import JsonOption
from pliant.cli.output import note, print_json, screen


def report_command(
    ledger: Annotated[Path, typer.Argument(help="A ledger's folder", show_default=False)],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The HTML file; `report.html` in the ledger by default")] = None,
    text: Annotated[bool, typer.Option("--text", help="Print it in the terminal")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write what a ledger shows as one HTML file that loads nothing, or print it; with --json, its decisions. With -o the
    file is written in any case.

    Example: pliant report runs/demo -o demo.html
    """
    from pliant.decide.curves.checkpoint import decide
    from pliant.report import print_report, report

    if out or not (as_json or text):
        note(f"report: {report(ledger, out or ledger / 'report.html')}")
    if as_json:
        print_json([decision.json() for decision in decide(ledger)])
    elif text:
        print_report(ledger, screen())
