"""`pliant check`: whether a ledger still holds what was written."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pliant.cli.change import JsonOption
from pliant.cli.output import print_json, print_table
from pliant.files import as_utf8


def check_command(
    folder: Annotated[Path, typer.Argument(metavar="LEDGER", help="A ledger's folder")],
    as_json: JsonOption = False,
) -> None:
    """Verify every file of a ledger, and say of each that is damaged what to do.

    Exits with 1 when something is damaged, with 2 where there is no ledger. Trained checkpoints are not looked at.

    Example: pliant check runs/demo
    """
    from pliant.ledger.checking import examined

    found = examined(folder)
    counts = Counter(finding.state for finding in found)
    states = {state: counts[state] for state in ("verified", "unverified", "damaged")}
    if as_json:
        print_json({"ledger": as_utf8(folder), **states, "files": [asdict(finding) for finding in found]})
    else:
        if told := [finding for finding in found if finding.state != "verified"]:
            print_table(
                ["file", "state", "what is wrong", "what to do"],
                [[finding.file, finding.state, finding.problem or "", finding.remedy or ""] for finding in told],
            )
        print(f"{as_utf8(folder)}: " + ", ".join(f"{count} {state}" for state, count in states.items()))
    if counts["damaged"]:
        raise typer.Exit(1)
