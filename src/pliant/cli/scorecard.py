"""`pliant scorecard`: what a changed model can still be trusted with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pliant.cli.change import DeviceOption, JsonOption
from pliant.cli.fields import yaml_option
from pliant.cli.output import note, print_json, print_table
from pliant.errors import PliantError


def scorecard_command(
    before: Annotated[str, typer.Option(help="The model as it was: a folder, a .gguf file, or a hub name@revision", show_default=False)],
    after: Annotated[str, typer.Option(help="The model as it is now", show_default=False)],
    data: Annotated[
        list[str] | None, typer.Option(help="A source of data; each test takes the first that it can read; repeat", show_default=False)
    ] = None,
    tests: Annotated[
        list[str] | None,
        typer.Option(
            help="Only these: `context,facts`, or one with its fields as YAML, `facts: {data: F, patterns: P}`; repeat", show_default=False
        ),
    ] = None,
    margin: Annotated[float, typer.Option(help="Differences up to this are none, in the metric's unit", min=0)] = 0.0,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Also write a page that holds everything", show_default=False)] = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Every test of trust that the data allows, before and after, on the same items; what was not tested is listed.

    Example: pliant scorecard --before ./base --after ./tuned --data conflicts.json --data questions.jsonl -o card.html
    """
    from pliant.models import load
    from pliant.report.scorecard import scorecard
    from pliant.report.scorecard_page import COLUMNS, answer, facts, table, write_card

    if out is not None and out.is_dir():
        raise PliantError(f"{out}: is a folder; name a file, such as {out / 'card.html'}")
    wanted = [test for text in tests or () for test in _tests(text)]
    card = scorecard(before, after, wanted, data or (), load=lambda address: load(address, device=device), margin=margin)
    if out is not None:
        write_card(card, out)
    if as_json:
        print_json(card.json())
        return
    print(f"{answer(card)}.")
    print_table(COLUMNS, table(card))
    for line in facts(card):
        print(line)
    for name, why in card.untested.items():
        print(f"not tested: {name}: {why}")
    if out is not None:
        note(f"wrote {out}")


def _tests(text: str) -> list[Any]:
    """Names, or one measure with its fields."""
    return [yaml_option(text, "--tests")] if ":" in text else [name.strip() for name in text.split(",") if name.strip()]
