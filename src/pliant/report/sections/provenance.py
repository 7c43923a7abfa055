"""Where the numbers come from: what failed, every record, and how all of it was made."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from pliant.axes import axis_named
from pliant.decide.curves.series import reading_name
from pliant.numbers import format_seconds
from pliant.report.parts import Cell, Code, Folded, Paragraph, Part, Section, TablePart
from pliant.report.results import Results


def failed(results: Results) -> Section | None:
    """Records that have an error instead of a value, equal errors together."""
    if not results.failures:
        return None
    places: dict[tuple[str, str], list[str]] = {}
    for row in results.failures:
        found = places.setdefault((row["change"].name(), str(row["error"])), [])
        if row["checkpoint"] not in found:
            found.append(str(row["checkpoint"]))
    rows: list[list[Cell]] = [[change, _listed(checkpoints), error] for (change, error), checkpoints in places.items()]
    failures, total = results.totals["failed"], results.totals["failed"] + results.totals["finished"]
    lead = f"{failures} of {total} records have no value; running the study again tries them again."
    return Section("What failed", lead, [TablePart(["Change", "Checkpoints", "Error"], rows)])


def _listed(names: Sequence[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def records(results: Results) -> Section | None:
    """Every measured value."""
    if not results.records:
        return None
    metrics: dict[str, set[str]] = {}
    for row in results.records:
        metrics.setdefault(row["measure"], set()).add(row["metric"])
    rows: list[list[Cell]] = [
        [
            str(row["checkpoint"]),
            "" if row["position"] is None else axis_named(row["axis"], row["phase"]).number(row["position"]),
            row["change"].name(),
            reading_name(row["measure"], row["metric"], metrics[row["measure"]]),
            f"{row['seed']}" if not row["draw"] else f"{row['seed']}, draw {row['draw']}",
            "" if row["value"] is None else f"{row['value']:.4f}",
            "" if row["stderr"] is None else f"{row['stderr']:.4f}",
            str(row["n"]),
        ]
        for row in results.records
    ]
    units = {axis_named(row["axis"], row["phase"]).unit for row in results.records}
    place = units.pop().capitalize() if len(units) == 1 else "Place"
    table = TablePart(
        ["Checkpoint", place, "Change", "Measure", "Seed", "Value", "Standard error", "n"], rows, numeric=frozenset({1, 5, 6, 7})
    )
    shown, total = len(results.records), results.totals["finished"]
    return Section("Records", "", [Folded(f"Show {'all' if shown == total else f'the first {shown} of'} {total} records", [table])])


def made(results: Results) -> Section | None:
    """The studies, versions and seeds behind the numbers."""
    import yaml

    seeds, seconds = results.totals["seeds"] or [], results.totals["seconds"]
    facts = [f"Seeds {', '.join(map(str, seeds))}." if seeds else "", f"{format_seconds(seconds)} of measuring." if seconds else ""]
    parts: list[Part] = [Paragraph(" ".join([*facts, _versions()]).strip())]
    for study in results.studies:
        form = {name: value for name, value in study.items() if name != "kind"}
        parts.append(Folded(f"The study {study.get('name', '')}", [Code(yaml.safe_dump(form, sort_keys=False, allow_unicode=True))]))
    return Section("How this was made", "", parts)


def _versions() -> str:
    found: list[str] = []
    for package in ("pliant", "torch", "transformers", "numpy"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return f"Reported by {', '.join(found)} on Python {platform.python_version()}."
