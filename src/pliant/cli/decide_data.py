"""`pliant decide data`: what sources are worth, which pools to train on, which documents to keep, how far to repeat."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pliant.cli.change import DeviceOption, JsonOption
from pliant.cli.output import print_json, print_table
from pliant.cli.questions import AffordOption, AtOption, ComputeOption, OptionalFitOption, fits_of, number, show, values_of
from pliant.errors import PliantError

if TYPE_CHECKING:
    from pliant.decide.data.prices import DataDecision


def data_command(
    study: Annotated[
        Path | None, typer.Argument(metavar="[STUDY]", help="A study whose ladder trains on a mixture, or on a scored corpus")
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option(help="Price this source; by default every one of the last phase", show_default=False)
    ] = None,
    samples: Annotated[float | None, typer.Option(help="Tokens to train on: which pools", parser=number, show_default=False)] = None,
    measure: Annotated[str | None, typer.Option(help="With --samples: the study's measure to choose by", show_default=False)] = None,
    scores: Annotated[
        Path | None, typer.Option(help="Scores of the study's corpus: which band of them to keep", show_default=False)
    ] = None,
    keep: Annotated[str, typer.Option(help="With --scores: how much is kept")] = "50%",
    bands: Annotated[str, typer.Option(help="With --scores: the bands, beside random")] = "low,medium,high",
    margin: Annotated[float, typer.Option(help="Differences that do not matter, in the measure's unit", min=0)] = 0.0,
    fit: OptionalFitOption = None,
    unique: Annotated[
        float | None, typer.Option(help="With --fit: unique tokens there are, how far to repeat them", parser=number, show_default=False)
    ] = None,
    compute: ComputeOption = None,
    at: AtOption = "",
    afford: AffordOption = None,
    ledger: Annotated[Path | None, typer.Option(help="Folder of the runs; runs/NAME by default", show_default=False)] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes; 0 for none", show_default=False)] = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """What each source of a mixture is worth: left out of the last phase alone. With --samples: which of its sources to train on, by
    short runs on each. With --scores: which band of documents to keep, at equal training tokens, by held-out targets.
    With --fit: the same from a saved fit. Killed, the same command goes on where it was.

    Example: pliant decide data study.yaml
    pliant decide data study.yaml --samples 640M --measure target
    pliant decide data study.yaml --scores scores.parquet --keep 50%
    pliant decide data --fit repetition.json --unique 10B --compute 1e21
    """
    if (study is None) == (not fit):
        raise PliantError("give a STUDY to train, or a saved --fit, one of the two")
    if study is None:
        _of_fit(fit or [], samples, unique, compute, at, afford, as_json)
        return
    from pliant.study import Study

    wanted = Study.read(study)
    folder, running = ledger or Path("runs") / wanted.name, {"workers": workers, "device": device}
    if sum(given is not None for given in (without or None, samples, scores)) > 1:
        raise PliantError("ask one thing: prices (--without), pools (--samples) or bands (--scores)")
    if samples is not None:
        from pliant.decide.data.pools import pools

        show(pools(wanted, folder, samples, measure=measure, **running), as_json)
    elif scores is not None:
        from pliant.decide.data.pruning import pruning

        named = [name.strip() for name in bands.split(",") if name.strip()]
        _show(pruning(wanted, folder, scores, keep, named, margin=margin, **running), as_json)
    else:
        from pliant.decide.data.prices import prices

        _show(prices(wanted, folder, without=without or None, margin=margin, **running), as_json)


def _of_fit(
    fit: list[Path], samples: float | None, unique: float | None, compute: float | None, at: str, afford: float | None, as_json: bool
) -> None:
    from pliant.decide.fits import data as question

    if len(fit) != 1:
        raise PliantError("this question takes one --fit")
    (found,) = fits_of(fit)
    if samples is not None and unique is None:
        show(question.pools(found, samples, afford), as_json)
    elif samples is None and unique is not None and compute is not None:
        show(question.epochs(found, unique, compute, values_of(at), afford), as_json)
    else:
        raise PliantError("give --samples (which pools), or --unique with --compute (how far to repeat)")


def _show(found: DataDecision, as_json: bool) -> None:
    if as_json:
        print_json(found.json())
        return
    for answer in found.answers:
        rows: list[dict[str, Any]] = [dict(row) for row in answer.rows()]
        print_table(list(rows[0]) if rows else [], [list(map(str, row.values())) for row in rows], answer.title())
        print()
    for line in found.told:
        print(line)
