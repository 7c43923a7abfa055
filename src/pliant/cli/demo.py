"""`pliant demo`: over-training, shown from nothing, in a minute and a half."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pliant.cli.change import JsonOption
from pliant.cli.output import print_json, screen

STUDIES = Path(__file__).parent / "studies"


def demo_command(
    full: Annotated[bool, typer.Option("--full", help="Eight budgets and three seeds, about seven minutes")] = False,
    ledger: Annotated[Path | None, typer.Option(help="Folder of the results; runs/demo by default", show_default=False)] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes; by default as many as cores", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """Train six tiny language models on real text, change each one, and see which is worth most afterwards.

    The text is the documentation and source that came with the installation; nothing is downloaded. Writes report.html
    beside the results. Kill it at any time and run it again.

    Example: pliant demo --ledger runs/demo
    """
    from pliant.decide.curves.checkpoint import decide
    from pliant.report import print_report, report
    from pliant.study import Study, run

    study = Study.read(STUDIES / ("full.yaml" if full else "quick.yaml"))
    folder = ledger or Path("runs") / study.name
    try:
        runs = run(study, folder, workers=workers)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"what was finished is in {folder}, and the same command goes on from there") from None
    page = report(runs, folder / "report.html")
    if as_json:
        print_json([decision.json() for decision in decide(runs)])
    else:
        print_report(runs, screen())
        print(
            f"\nreport: {page}\nthe study: {STUDIES / ('full.yaml' if full else 'quick.yaml')}; run your own with `pliant run STUDY.yaml`"
        )
    if runs.failed:
        raise typer.Exit(1)
