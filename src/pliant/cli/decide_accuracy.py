"""`pliant decide accuracy`: how accurate heads are on data without labels, from how often they agree."""

from __future__ import annotations

from typing import Annotated

import typer

from pliant.cli.change import DeviceOption, JsonOption
from pliant.cli.output import print_json, print_table
from pliant.errors import PliantError


def accuracy_command(
    heads: Annotated[
        list[str],
        typer.Option(help="Classifiers, three or more; or one model, on whose frozen trunk heads are trained", show_default=False),
    ],
    labelled: Annotated[str, typer.Option(help="Data with labels, of the kind that the heads learned from", show_default=False)],
    unlabelled: Annotated[str, typer.Option(help="The data whose accuracy is wanted; labels are not looked at", show_default=False)],
    count: Annotated[int, typer.Option(help="Heads that are trained on one trunk", min=1)] = 30,
    diversity: Annotated[
        str, typer.Option(help="What trained heads differ in: head (random starts), order (of the data), subset (a tenth of it)")
    ] = "head",
    rate: Annotated[float, typer.Option(help="Learning rate of trained heads", min=0)] = 0.1,
    steps: Annotated[tuple[int, int], typer.Option(help="Steps of the shortest and of the longest training")] = (20, 640),
    seed: Annotated[int, typer.Option(help="Of trained heads, and of the interval", min=0)] = 0,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """How accurate are these heads on data that nobody labelled? Refused where their agreement is not on the line.

    Examples: pliant decide accuracy --heads A --heads B --heads C --labelled train/ --unlabelled new/
    pliant decide accuracy --heads ENCODER --labelled train.csv --unlabelled new.csv
    """
    from pliant.decide.agreement.asked import asked
    from pliant.decide.agreement.decide import decide

    if diversity not in ("head", "order", "subset"):
        raise PliantError(f"--diversity: {diversity[:40]!r} is none of head, order, subset")
    trained = {"count": count, "diversity": diversity, "rate": rate, "steps": steps, "seed": seed} if len(heads) == 1 else {}
    found = decide(asked(heads, labelled, unlabelled, device, **trained), seed)
    if as_json:
        print_json(found.json())
        return
    print(f"{found.sentence()}.")
    for caveat in found.caveats:
        print(f"But: {caveat}.")
    beside = {"ALine-D": found.by_pairs.mean(), "ALine-S": found.by_line.mean(), **found.baselines}
    print_table(["mean over heads", "accuracy"], [[name.replace("_", " "), f"{value:.4f}"] for name, value in beside.items()])
