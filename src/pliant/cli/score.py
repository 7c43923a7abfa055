"""`pliant score KIND`: give every example a number, from which data is selected."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pliant.cli.change import DeviceOption, JsonOption
from pliant.cli.fields import check_texts, yaml_option
from pliant.cli.output import print_json
from pliant.errors import PliantError
from pliant.files import expanded, workplace
from pliant.models.ladder import Loading
from pliant.objectives import OBJECTIVES
from pliant.scores import Score

if TYPE_CHECKING:
    from pliant.scores import Scores

EXAMPLES = {
    "el2n": "pliant score el2n --model early-0 --model early-1 --data builtin:digits -o scores.parquet",
    "grand": "pliant score grand --model early-0 --model early-1 --data builtin:digits -o scores.parquet",
}


def score_command(
    score: Score,
    loading: Loading,
    *,
    model: Annotated[
        list[str], typer.Option("--model", "-m", help="A folder or a hub name@revision; repeat for several", show_default=False)
    ],
    data: Annotated[str, typer.Option(help="What is scored: a source, or its fields as YAML", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="File for the table of scores (Parquet)", show_default=False)],
    part: Annotated[
        Literal["train", "heldout", "all"], typer.Option(help="Which part of the data: the one that is selected from")
    ] = "train",
    length: Annotated[int | None, typer.Option(help="Longest example in tokens; by default the model's context", min=1)] = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Writes a table with the columns id and score, the mean over the models, which `select` in a data field reads.

    Example: pliant score perplexity --model ./small --data corpus.jsonl -o scores.parquet
    """
    from pliant.models import load

    objective = OBJECTIVES.parse({score.reads: {"data": yaml_option(data, "--data"), "part": part}}, "--data")
    check_texts(objective)
    _check_place(out)
    models = [load(address, device=device, **loading.loading()) for address in model]
    scores = score(models, objective.examples(models[0], length))
    scores = replace(scores, objective=objective.canonical(), content=" ".join(part.fingerprint() for part in objective.content()))
    scores.save(out)
    told = _told(scores, out)
    if as_json:
        print_json(told)
    else:
        low, middle, high = (f"{told['quantiles'][name]:.4g}" for name in ("0.05", "0.5", "0.95"))
        unit = "" if scores.unit == "1" else f" {scores.unit}"
        print(f"{len(scores):,} examples: {score.kind} {middle}{unit} in the middle, {low} to {high} for nine in ten\nwrote {out}")


def _told(scores: Scores, out: Path) -> dict[str, Any]:
    import numpy as np

    levels = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
    quantiles = {f"{level:g}": float(np.quantile(scores.values, level)) for level in levels}
    facts = {"score": scores.score, "unit": scores.unit, "better": scores.better, "models": scores.models, "data": scores.data}
    return {"out": str(out), "examples": len(scores), **facts, "quantiles": quantiles}


def _check_place(out: Path) -> None:
    """Raises PliantError where nothing can be written, before models take their time."""
    place = expanded(out)
    if place.exists():
        raise PliantError(f"{out} exists already; choose a new file")
    with workplace(place):
        pass
