"""`pliant report DIR`: a ledger as one HTML page, and in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pliant.cli.output import note


def report_command(
    ledger: Annotated[Path, typer.Argument(help="A ledger's folder", show_default=False)],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The HTML file; `report.html` in the ledger by default")] = None,
    text: Annotated[bool, typer.Option("--text", help="Print it in the terminal and write no file")] = False,
) -> None:
    """Write what a ledger shows as one HTML file that loads nothing, or print it.

    Example: pliant report runs/demo -o demo.html
    """
    from pliant.report import print_report, report

    if text:
        print_report(ledger)
    else:
        note(f"report: {report(ledger, out or ledger / 'report.html')}")
