"""`pliant findings`: published claims, re-tested here."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pliant.cli.change import JsonOption
from pliant.cli.output import note, print_json
from pliant.files import write_atomic

if TYPE_CHECKING:
    from pliant.findings import Finding


def findings_command(
    names: Annotated[list[str] | None, typer.Argument(help="Which findings; all by default", show_default=False)] = None,
    size: Annotated[str, typer.Option(help="smoke: seconds; laptop: minutes on two cores; gpu: needs an accelerator")] = "smoke",
    folder: Annotated[Path, typer.Option(help="Where ledgers and checkpoints are kept")] = Path("runs/findings"),
    corpus: Annotated[
        str | None, typer.Option(help="Pretraining text, where a finding trains; builtin:prose by default", show_default=False)
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="Only print each claim and its rule")] = False,
    images: Annotated[
        str | None, typer.Option(help="Images, where a finding looks at some; builtin:digits by default", show_default=False)
    ] = None,
    table: Annotated[str | None, typer.Option(help="A table of runs, where a finding is about released ones", show_default=False)] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Also write the outcomes as Markdown; what it says of other findings stays", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Re-test published claims: the published figure, ours, and a verdict by a rule written before the run.

    Exits with 1 when a claim is contradicted. `--out` is written after each finding, and replaces what it said of that one before.

    Example: pliant findings linear_network --size smoke
    """
    from pliant.findings import FINDINGS
    from pliant.spec.yaml import read_text

    chosen: list[Finding] = []
    for name in names or sorted(FINDINGS.specs()):
        kind = FINDINGS[name]
        told = {
            field: given
            for field, given in (("corpus", corpus), ("images", images), ("table", table))
            if given and field in kind.model_fields
        }
        chosen.append(kind.parse({"size": size, **told}))
    if listing:
        stated = [{"finding": f.kind, "paper": f.paper, "claim": f.claim, "published": f.published, "rule": f.rule} for f in chosen]
        if as_json:
            print_json(stated)
        else:
            for row in stated:
                _print({**row, "ours": None})
        return
    rows: list[dict[str, Any]] = []
    for finding in chosen:
        note(f"{finding.kind} ...")
        rows.append(finding.row(finding.test(folder / size)))
        if not as_json:
            _print(rows[-1])
        if out is not None:
            write_atomic(out, with_outcome(read_text(out) if out.exists() else "", rows[-1], date.today()))
    if as_json:
        print_json(rows)
    if any(row["verdict"] == "contradicted" for row in rows):
        raise typer.Exit(1)


HEADING = re.compile(r"^## (\w+): ", re.MULTILINE)
"""Of the section of a finding."""


def with_outcome(page: str, row: dict[str, Any], day: date) -> str:
    """The page with what came out of one finding in the place of what it said of that one; sections are in the order of their names."""
    starts = list(HEADING.finditer(page))
    ends = [start.start() for start in starts[1:]] + [len(page)]
    sections = {start[1]: page[start.start() : end].strip() + "\n" for start, end in zip(starts, ends, strict=False)}
    sections[row["finding"]] = _section(row, day)
    return "\n".join([PAGE, *(sections[name] for name in sorted(sections))])


PAGE = """# Findings

Written by `pliant findings [NAME ...] --size laptop --out FILE`, which replaces the sections of what it ran; do not edit.
"""


def _section(row: dict[str, Any], day: date) -> str:
    checks = "".join(f"- {'held' if held else 'did not hold'}: {check}\n" for check, held in row["checks"].items())
    told = {"Source": row["paper"], "Published": row["published"], "Rule": row["rule"], "Ours": row["ours"]}
    lines = "\n\n".join(f"{name}: {text}" for name, text in {**told, "Run": f"{day}, size {row['size']}"}.items())
    return f"## {row['finding']}: {row['verdict']}\n\n{row['claim']}\n\n{lines}\n\n{checks}"


def _print(row: dict[str, Any]) -> None:
    print(f"\n{row['finding']}: {row['claim']}\n  source     {row['paper']}\n  published  {row['published']}\n  rule       {row['rule']}")
    if row["ours"] is not None:
        print(f"  ours       {row['ours']}\n  verdict    {row['verdict']} (size {row['size']})")
        for check, held in row["checks"].items():
            print(f"             {'yes' if held else 'no ':<3} {check}")
