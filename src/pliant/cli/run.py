"""`pliant run`: measure what a study asks for."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pliant.axes import axis_named
from pliant.changes import recorded
from pliant.cli.change import DeviceOption, DtypeOption, JsonOption
from pliant.cli.output import note, print_json, print_table
from pliant.cli.questions import print_tables
from pliant.numbers import format_count, format_seconds
from pliant.progress import remark

if TYPE_CHECKING:
    from pliant.study import Plan, Runs

StudyArgument = Annotated[Path, typer.Argument(metavar="STUDY", help="A YAML file: checkpoints, changes, measures, seeds, questions")]
LedgerOption = Annotated[Path | None, typer.Option(help="Folder of the results; runs/NAME by default", show_default=False)]
WorkersOption = Annotated[int | None, typer.Option(help="Worker processes; 0 for none", show_default=False)]
MOST_REASONS = 10
"""Reasons of failed cells that are printed."""


def run_command(
    study: StudyArgument,
    ledger: LedgerOption = None,
    workers: WorkersOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be measured and what it would cost")] = False,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    executor: Annotated[Literal["local", "ray"], typer.Option(help="Where workers run: here, or on a Ray cluster")] = "local",
    as_json: JsonOption = False,
) -> None:
    """Run a study: train, change and measure what its ledger lacks, and answer its questions. Kill it at any time and run it again.

    Exits with 1 when a cell failed: the ledger says why, the others are done, and the next run tries it again. Exits
    with 2 when all of them failed: nothing could be measured.

    Example: pliant run examples/overtraining.yaml --ledger runs/overtraining
    """
    from pliant.study import Study, run
    from pliant.study.running import with_dtype

    wanted = with_dtype(Study.read(study), dtype)
    folder = ledger or Path("runs") / wanted.name
    if dry_run:
        _foresee(wanted, folder, workers, device, as_json)
        return
    started = time.monotonic()
    try:
        runs = run(wanted, folder, workers=workers, device=device, executor=executor)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"what was finished is in {folder}, and the same command goes on from there") from None
    _tell(runs, time.monotonic() - started, as_json)
    if runs.failed:
        raise typer.Exit(1 if len(runs.records()) > len(runs.failed) else 2)


def _foresee(study: Any, folder: Path, asked: int | None, device: str | None, as_json: bool) -> None:
    """Print the plan."""
    from pliant.study import Ledger, plan
    from pliant.study.sizing import workers_for

    planned = plan(study, Ledger(folder) if (folder / "ledger.json").exists() else None, device)
    workers = workers_for(planned, device)[0] if asked is None else asked
    if as_json:
        print_json(_plan_form(planned, folder, workers))
        return
    rows: list[list[str]] = []
    axis = axis_named(planned.axis if planned.axis != "params" else planned.study.checkpoints.counted)
    for number, rung in enumerate(planned.rungs):
        cells = [cell for cell in planned.cells if cell.rung == number]
        opening = planned.opening[number]
        facts = rung.checkpoint
        place = getattr(facts, axis.name)
        known = ["?" if fact is None else f"{fact:g}" if isinstance(fact, float) else format_count(fact) for fact in (facts.params, place)]
        training = f"{opening.flops:.1e}" if cells and opening.flops else ""
        seconds = sum(cell.cost.seconds for cell in cells) + (opening.seconds if cells else 0.0)
        rows.append([facts.address, *known, str(len(cells)), training, format_seconds(seconds)])
    for line in planned.remarks:
        remark(line)
    print_table(["checkpoint", "params", axis.unit, "cells", "training FLOPs", "time"], rows, study.name)
    cost = planned.cost
    print(f"changes: {', '.join(change.label() for change in study.changes)}")
    print(f"measures: {', '.join(f'{name} = {measure.label()}' for name, measure in study.measures.items())}")
    there = f"{planned.finished} cells are in {folder} already, " if planned.finished else ""
    time_left = format_seconds(cost.seconds / max(1, workers))
    print(f"{there}{len(planned.cells)} to run: {cost.flops:.1e} FLOPs, about {time_left} on {max(1, workers)} worker(s)")


def _plan_form(planned: Plan, folder: Path, workers: int) -> dict[str, Any]:
    cells = [
        {
            "cell": cell.name,
            "checkpoint": planned.rungs[cell.rung].checkpoint.address,
            "change": cell.change.canonical(),
            "seed": cell.seed,
            "measures": list(cell.measures),
            "flops": cell.cost.flops,
            "seconds": cell.cost.seconds,
        }
        for cell in planned.cells
    ]
    cost = {"flops": planned.cost.flops, "seconds": planned.cost.seconds, "workers": max(1, workers)}
    return {
        "study": planned.study.name,
        "ledger": str(folder),
        "finished": planned.finished,
        "cells": cells,
        "skipped": planned.skipped,
        "remarks": planned.remarks,
        **cost,
    }


def _tell(runs: Runs, seconds: float, as_json: bool) -> None:
    """Print what came of it and the answers; failures go to standard error, each reason once."""
    records, failed = runs.records(), runs.failed
    folder = runs.ledger.folder
    reasons = Counter(record["error"] for record in failed)
    for error, count in reasons.most_common(MOST_REASONS):
        first = next(record for record in failed if record["error"] == error)
        change = recorded(first["change_json"]).name()
        where = f"{first['checkpoint']}, {change}, {first['measure']}" + (f" and {count - 1} more" if count > 1 else "")
        note(f"pliant: failed: {where}: {error}")
    if len(reasons) > MOST_REASONS:
        query = "select * from records where status = 'failed'"
        note(f'pliant: {len(reasons) - MOST_REASONS} further reasons: pliant show {folder} --sql "{query}"')
    answers = runs.answers()
    if as_json:
        told = {"study": runs.study.name, "ledger": str(folder), "records": len(records) - len(failed), "failed": len(failed)}
        print_json(told | {"seconds": seconds, "remarks": runs.remarks, "answers": [found.json() for found in answers]})
        return
    broken = f", {len(failed)} failed" if failed else ""
    print(f"{runs.study.name}: {len(records) - len(failed)} records{broken} in {folder} ({format_seconds(seconds)})")
    for found in answers:
        print(str(found) if found.undecided else f"\n{found.title}:")
        print_tables(found.tables)
    print(f"look at them: pliant show {folder}")
