"""What the questions of `pliant decide` share: their options, and how an answer is shown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pliant.cli.output import print_json, print_table
from pliant.errors import PliantError
from pliant.numbers import format_count, parse_count

if TYPE_CHECKING:
    from pliant.decide.fits.answer import Decision
    from pliant.laws import Fit
    from pliant.study.question import Question, Row

MOST_WORDS = 60
"""Characters of what was written, in an error."""


def number(text: str) -> float:
    """`16M`, `1e20` or `0.05`; always finite."""
    try:
        value = float(text)
    except ValueError:
        try:
            value = float(parse_count(text))
        except (ValueError, OverflowError) as error:
            raise typer.BadParameter(str(error) if len(text) <= MOST_WORDS else f"{text[:MOST_WORDS]!r} ... is no number") from None
    if not math.isfinite(value):
        raise typer.BadParameter(f"{text[:MOST_WORDS]!r} is beyond what a number can be")
    return value


def count(text: str) -> int:
    """`16M`: a whole number."""
    try:
        return parse_count(text)
    except ValueError as error:
        raise typer.BadParameter(str(error) if len(text) <= MOST_WORDS else f"{text[:MOST_WORDS]!r} ... is no count") from None


FitOption = Annotated[
    list[Path], typer.Option("--fit", help="A fit saved by `pliant fit --save`; its predictions are summed with the others'")
]
AtOption = Annotated[str, typer.Option("--at", help="What is given, by the laws' columns: N=30M,Ppost=4", show_default=False)]
AffordOption = Annotated[float | None, typer.Option("--afford", help="FLOPs that the next run may cost", parser=number, show_default=False)]
ComputeOption = Annotated[
    float | None, typer.Option("--compute", help="Training FLOPs of 16-bit arithmetic", parser=number, show_default=False)
]
OptionalFitOption = Annotated[list[Path] | None, typer.Option("--fit", help="A fit saved by `pliant fit --save`", show_default=False)]


def fits_of(paths: Sequence[Path]) -> list[Fit]:
    """The saved fits."""
    from pliant.laws import Fit

    return [Fit.load(path) for path in paths]


def values_of(text: str) -> dict[str, float]:
    """`N=30M,Ppost=4` as numbers."""
    values: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = part.partition("=")
        if not value:
            raise PliantError(f"--at {part!r}: write NAME=VALUE, such as N=30M")
        if name.strip() in values:
            raise PliantError(f"--at: {name.strip()} is given twice")
        values[name.strip()] = number(value.strip())
    return values


def show_answers(question: Question, ledger: Path, as_json: bool) -> None:
    """Answer a question from a ledger, and print that."""
    from pliant.decide.questions import ask

    answers = ask(question, ledger)
    if as_json:
        print_json([found.json() for found in answers])
    else:
        print_tables(question.tables(answers))


def print_tables(tables: Mapping[str, Sequence[Row]]) -> None:
    """The tables of a question's answers."""
    for title, rows in tables.items():
        print_table(list(rows[0]), [list(row.values()) for row in rows], title or None)


def _between(value: float, low: float | None, high: float | None) -> str:
    """A figure with its 90% interval, where it has one."""
    ends = [_plain(end) if end is not None else "open" for end in (low, high)]
    return f"{_plain(value)} [{ends[0]}, {ends[1]}]"


def _disagreement(decision: Decision) -> str:
    """How far the ways to the answer differ, and whether their intervals have a size in common."""
    ways = [way for way in decision.evidence["approaches"] if way["low"] is not None and way["high"] is not None]
    apart = max((way["low"] for way in ways), default=0.0) > min((way["high"] for way in ways), default=0.0)
    meaning = "more than their intervals allow: some assumption does not hold" if apart else "within their intervals"
    return f"these ways differ {decision.evidence['disagreement']:.3g} times, {meaning}"


def _gained(other: Mapping[str, Any]) -> str:
    """What an alternative would do, with its unit and direction."""
    if other.get("gain") is None:
        return str(other.get("note", ""))
    target = next((name for name in ("loss", "error", "rise") if name in other), None)
    reached = f"{target} {other[target]:.4g} {other['unit']}, " if target else ""
    return f"{reached}{abs(other['gain']):.2g} {'lower' if other['gain'] >= 0 else 'higher'}"


def _plain(value: float) -> str:
    return format_count(value) if abs(value) >= 1000 else f"{value:.4g}"


def show(decision: Decision, as_json: bool) -> None:
    """Print an answer: JSON, or the sentence with its audits, alternatives and next measurement."""
    if as_json:
        print_json(decision.json())
        return
    print(f"{decision.question}: {decision.sentence()}")
    for name, (value, low, high) in decision.evidence.get("figures", {}).items():
        unit = decision.evidence.get("units", {}).get(name, "")
        print(f"  with   {name} {_between(value, low, high)} {unit}".rstrip())
    for way in decision.evidence.get("approaches", ())[1:]:
        found = way["note"] if way["size"] is None else f"{_between(way['size'], way['low'], way['high'])} parameters, {way['note']}"
        print(f"  also   {way['approach']}: {found}")
    if "disagreement" in decision.evidence:
        print(f"  note   {_disagreement(decision)}")
    for run in decision.answer if isinstance(decision.answer, list) else ():
        if not isinstance(run, Mapping):  # a name: the sentence has it
            continue
        size = ", ".join(f"{name} {_plain(value)}" for name, value in run.items() if name != "compute")
        print(f"  run    {size}: {run['compute']:.3g} FLOPs")
    for warning in decision.warnings:
        print(f"  note   {warning}")
    for audit in decision.audit:
        print(f"  audit  law {audit['law']} {audit['verdict']}: {audit['graded']}; {audit['reason']}")
    if "predicted_by" in decision.evidence:
        print(f"  by     {decision.evidence['predicted_by']}")
    for other in decision.alternatives:
        print(f"  or     {other['lever']}: {_gained(other)}")
    if decision.next is not None:
        run = ", ".join(f"{name} {format_count(value)}" for name, value in decision.next["run"].items())
        where = f" of {decision.next['group']}" if decision.next["group"] else ""
        print(f"  next   measure {run}{where}: would remove {decision.next['variance_removed']:.0%} of the variance")
