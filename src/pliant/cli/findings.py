"""`pliant findings`: published claims, re-tested here."""

from __future__ import annotations

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
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Also write the outcomes as Markdown", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """Re-test published claims: the published figure, ours, and a verdict by a rule written before the run.

    Exits with 1 when a claim is contradicted.

    Example: pliant findings linear_network --size smoke
    """
    from pliant.findings import FINDINGS

    chosen: list[Finding] = []
    for name in names or sorted(FINDINGS.specs()):
        kind = FINDINGS[name]
        chosen.append(kind.parse({"size": size, **({"corpus": corpus} if corpus and "corpus" in kind.model_fields else {})}))
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
        write_atomic(out, _markdown(rows, size))
    if as_json:
        print_json(rows)
    if any(row["verdict"] == "contradicted" for row in rows):
        raise typer.Exit(1)


def _markdown(rows: list[dict[str, Any]], size: str) -> str:
    parts = [f"# Findings\n\nWritten by `pliant findings --size {size} --out FILE`; do not edit.\n"]
    for row in rows:
        checks = "".join(f"- {'held' if held else 'did not hold'}: {check}\n" for check, held in row["checks"].items())
        told = {"Source": row["paper"], "Published": row["published"], "Rule": row["rule"], "Ours": row["ours"]}
        lines = "\n\n".join(f"{name}: {text}" for name, text in told.items())
        parts.append(f"## {row['finding']}: {row['verdict']}\n\n{row['claim']}\n\n{lines}\n\n{checks}")
    return "\n".join(parts)


def _print(row: dict[str, Any]) -> None:
    print(f"\n{row['finding']}: {row['claim']}\n  source     {row['paper']}\n  published  {row['published']}\n  rule       {row['rule']}")
    if row["ours"] is not None:
        print(f"  ours       {row['ours']}\n  verdict    {row['verdict']} (size {row['size']})")
        for check, held in row["checks"].items():
            print(f"             {'yes' if held else 'no ':<3} {check}")
