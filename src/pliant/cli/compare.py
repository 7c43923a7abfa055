"""`pliant compare`: two result files or more, and one question."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pliant.cli.change import JsonOption
from pliant.cli.output import note, print_json, print_table


def compare_command(
    results: Annotated[
        list[str],
        typer.Argument(
            metavar="A B [C ...]",
            help="lm-eval's output folders, Inspect logs, ledgers, or tables (CSV, JSONL, Parquet); PATH#NAME for one of several in it",
        ),
    ],
    margin: Annotated[float, typer.Option(help="Differences up to this are none, in the metric's unit", min=0)] = 0.005,
    metric: Annotated[str | None, typer.Option(help="Only this metric", show_default=False)] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Also write a page that holds everything", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare systems on the items that they share: is the difference real, are they tied, or how many more would it take?

    Everything is compared with the first. No model is loaded.

    Examples: pliant compare results/base results/quantized
    pliant compare before.csv after.csv --margin 0.01 -o comparison.html
    """
    from pliant.comparison import compare
    from pliant.comparison.page import write_page
    from pliant.comparison.words import lines, table

    found = compare(*results, margin=margin, metric=metric)
    if out is not None:
        write_page(found.rows, found.notes, found.systems, out, found.signals)
    if as_json:
        print_json(found.json())
        return
    for line in lines(found.rows, found.notes, found.signals):
        print(line)
    print()
    headings, cells = table(found.rows)
    print_table(headings, cells)
    if out is not None:
        note(f"wrote {out}")
