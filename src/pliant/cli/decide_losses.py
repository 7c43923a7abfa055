"""`pliant decide losses`: which losses to fine-tune with, so that the result is good on data of another kind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pliant.cli.change import DeviceOption, JsonOption, ModelOption
from pliant.cli.fields import yaml_option
from pliant.cli.method_setup import finetune_of
from pliant.cli.output import print_json, print_table
from pliant.cli.questions import number
from pliant.errors import PliantError
from pliant.models.ladder import Loading

if TYPE_CHECKING:
    from pliant.measures import Measure


def losses_command(
    loading: Loading,
    *,
    model: ModelOption,
    validate: Annotated[
        list[str],
        typer.Option(help="Examples of another kind, to choose by: a source, or a measure as YAML; of several the worst counts"),
    ],
    data: Annotated[str | None, typer.Option(help="What to learn: labels, answers, text", show_default=False)] = None,
    objective: Annotated[str | None, typer.Option(help="What to learn, instead of --data, as YAML", show_default=False)] = None,
    test: Annotated[
        list[str] | None, typer.Option(help="Examples of yet another kind, to judge by, in the same forms; repeat for several")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="Which reading of --validate: accuracy, nll ...; its first", show_default=False)
    ] = None,
    losses: Annotated[
        str | None,
        typer.Option(help="Which to try beside the cross-entropy; by default all, flyp for classifiers only", show_default=False),
    ] = None,
    trials: Annotated[int, typer.Option(help="Settings that each search tries", min=1, max=10_000)] = 100,
    trial_steps: Annotated[int, typer.Option(help="Optimizer steps of a trial", min=1)] = 20,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps of a whole run (200)", min=1, show_default=False)] = None,
    epochs: Annotated[float | None, typer.Option(help="Of a whole run, instead of --steps", parser=number, show_default=False)] = None,
    lr: Annotated[
        float | None, typer.Option(help="Middle of the rates; by default 1/sqrt(parameters)", parser=number, show_default=False)
    ] = None,
    finetune: Annotated[str, typer.Option(help="How else to train, as YAML: fields of the change `finetune`")] = "{}",
    seeds: Annotated[int, typer.Option(help="Fresh seeds for the whole runs", min=1, max=256)] = 3,
    seed: Annotated[int, typer.Option(help="Of the search; whole runs have the next ones", min=0, max=2**62)] = 0,
    folder: Annotated[Path | None, typer.Option(help="Where trials are kept; the cache by default", show_default=False)] = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Which losses to fine-tune with, at which rate and weight decay, for data of another kind than is trained on (AutoFT).

    A search judged on --validate, beside two as long of cross-entropy alone; whole runs are judged on --test. Killed, the same command
    goes on where it was.

    Example: pliant decide losses --model ./base --data train.csv --validate other.csv --test third.csv --trials 100 --epochs 10
    """
    from pliant.decide.losses.decide import LossPlan, decide
    from pliant.decide.losses.search import check_optuna
    from pliant.decide.losses.validation import Validation
    from pliant.decide.methods.arm import usual_rate
    from pliant.files import cache_folder
    from pliant.models import load

    check_optuna()
    if lr is not None and not lr > 0:
        raise PliantError(f"--lr {lr:g}: give a learning rate above 0")
    if epochs is not None and (steps is not None or not epochs > 0):
        raise PliantError("give the length of a whole run as --steps or as --epochs above 0, one of the two")
    told = finetune_of(data, objective, steps or 200, finetune)
    if epochs is not None:
        told = told.model_copy(update={"steps": None, "epochs": epochs})
    asked = Validation([_measure(form, "--validate") for form in validate], metric)
    tests = [_measure(form, "--test") for form in test or []]
    loaded = load(model, device=device, **loading.loading())
    rate = lr or usual_rate(sum(parameter.numel() for parameter in loaded.network.parameters()))
    names = None if losses is None else tuple(dict.fromkeys(name.strip() for name in losses.split(",") if name.strip()))
    if names == ():
        raise PliantError("--losses: name at least one, such as dcm; cross-entropy alone is tried anyway")
    plan = LossPlan(trials, trial_steps, seeds, seed)
    found = decide(loaded, model, told.model_copy(update={"lr": rate}), asked, tests, names, plan, folder or cache_folder() / "losses")
    if as_json:
        print_json(found.json())
        return
    print(found.sentence())
    print_table(*found.table())
    for line in found.lines():
        print(line)
    if found.arms[0].command:
        print(f"run: {found.arms[0].command}")


def _measure(form: str, option: str) -> Measure:
    """A measure as YAML, or what tells how good a network is at what a source's columns call for. Raises PliantError for neither."""
    from pliant.data import Corpus
    from pliant.decide.losses.validation import measure_of
    from pliant.measures import MEASURES
    from pliant.objectives import found_in

    told: Any = yaml_option(form, option)
    if isinstance(told, dict) and len(told) == 1 and next(iter(told)) in MEASURES:
        return MEASURES.parse(told, option)
    try:
        found = measure_of(found_in(Corpus.parse(told), "all"), "all")
        for part in found.content():
            part.fingerprint()
        return found
    except PliantError as error:
        raise error.within(option) from None
