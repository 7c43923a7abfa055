"""`pliant decide between TABLE`: which of several groups of runs is better at a scale."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pliant.cli.assignments import items
from pliant.cli.change import JsonOption
from pliant.cli.output import note, print_json, print_table
from pliant.cli.questions import values_of

if TYPE_CHECKING:
    from pliant.decide.groups.answer import GroupDecision

SHOWN = 12
"""Groups of a table for people; the others are in --json."""


def between_command(
    table: Annotated[Path, typer.Argument(help="Runs: CSV, Parquet or JSON lines", show_default=False)],
    by: Annotated[
        str, typer.Option(help="The column that names each run's group: a recipe, a corpus, an architecture", show_default=False)
    ],
    at: Annotated[
        str,
        typer.Option(help="The scale: compute=1.28e19 (each group's best run there), or N=7B,D=140B (the same run)", show_default=False),
    ],
    columns: Annotated[
        list[str] | None, typer.Option(help="Where the columns are: N=params,D=tokens,loss=loss_c4; compute=flops instead of 6 N D")
    ] = None,
    where: Annotated[str | None, typer.Option(help="SQL condition that chooses rows", show_default=False)] = None,
    unit: Annotated[str | None, typer.Option(help="bits converts losses to nats", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """Which of several groups of runs is better at a scale: the answer, how sure it is, and which run would settle it.

    Lower losses are better; of an accuracy give loss="1 - accuracy".

    Example: pliant decide between runs.csv --by recipe --columns N=params,D=tokens,loss=loss --at compute=1.28e19
    """
    from pliant.decide.groups.between import decide

    found = decide(table, by, values_of(at), items("columns", columns), where, unit)
    if as_json:
        print_json(found.json())
    else:
        _show(found, by)


def _show(found: GroupDecision, by: str) -> None:
    """The answer with its caveats, the groups, and what would settle it."""
    print(f"{found.sentence()}.")
    print(f"Choosing it gives away about {found.regret:.2g} to the best, of a loss of {found.ranking[0].value:.4g} in the table's unit.")
    for caveat in found.caveats:
        print(f"But: {caveat}.")
    rows = [[one.group, f"{one.value:.4f}", f"{one.low:.4f}", f"{one.high:.4f}", f"{one.probability:.0%}"] for one in found.ranking[:SHOWN]]
    print_table([by, "loss there", "5%", "95%", "best"], rows)
    if len(found.ranking) > SHOWN:
        note(f"pliant: {len(found.ranking) - SHOWN} more groups are in --json")
    record = found.audit
    if record.pairs:
        print(
            f"audit: at {record.origins} earlier scales of this table, ranking chose right in {record.ranking_right:.0%} of {record.pairs} "
            f"pairs up to {record.farthest:.3g} times larger ({record.said:.0%} was said), the trend in {record.law_right:.0%}"
        )
    else:
        only = "one common scale only" if found.evidence.common_scales == 1 else "at no larger common scale did groups differ"
        print(f"audit: {only}, so nothing on this table says how well ranking does")
    if found.next is not None:
        sure = "which would settle it" if found.next.settles else "the most that one more scale helps"
        print(
            f"next: run {' and '.join(found.next.groups)} at {found.next.compute:.3g} FLOPs: {found.next.probability:.0%} sure then, {sure}"
        )
