"""`pliant decide`: answers from saved fits and from ledgers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from pliant.cli.change import JsonOption
from pliant.cli.decide_accuracy import accuracy_command
from pliant.cli.decide_between import between_command
from pliant.cli.decide_data import data_command
from pliant.cli.decide_losses import losses_command
from pliant.cli.decide_method import method_command
from pliant.cli.fields import spec_command
from pliant.cli.output import print_json
from pliant.cli.questions import AffordOption, AtOption, ComputeOption, FitOption, fits_of, number, show, values_of
from pliant.errors import PliantError


class _Questions(TyperGroup):
    """The commands below, and those of the kinds of questions, which are made when they are asked for: finding every kind takes
    time that `pliant --help` does not have.
    """

    @property
    def commands(self) -> dict[str, Any]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """By name, those below before a kind of the same name."""
        from pliant.cli.ask import question_commands

        return question_commands() | self._below

    @commands.setter
    def commands(self, below: Mapping[str, Any]) -> None:
        self._below = dict(below)


decide_app = typer.Typer(
    cls=_Questions,
    help="Answer a question from a ledger or from saved fits.\n\nExample: pliant decide checkpoint --ledger runs/demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


decide_app.command("accuracy")(accuracy_command)
decide_app.command("between")(between_command)
decide_app.command("data")(data_command)
decide_app.command("losses")(spec_command(losses_command))
decide_app.command("method")(spec_command(method_command))


@decide_app.command("tokens")
def tokens(
    fit: FitOption,
    at: AtOption = "",
    most: Annotated[
        float | None, typer.Option(help="Search up to so many tokens, beyond the measured", parser=number, show_default=False)
    ] = None,
    afford: AffordOption = None,
    as_json: JsonOption = False,
) -> None:
    """How many tokens to pretrain on, given the changes to come.

    Example: pliant decide tokens --fit base.json --fit rise.json --at N=30M,Ppost=4
    """
    from pliant.decide.fits.tokens import decide

    show(decide(fits_of(fit), values_of(at), most, afford), as_json)


@decide_app.command("size")
def size(
    fit: FitOption,
    compute: Annotated[float, typer.Option(help="FLOPs for training and serving", parser=number, show_default=False)],
    served: Annotated[float, typer.Option(help="Tokens that will be served", parser=number)] = 0.0,
    at: AtOption = "",
    afford: AffordOption = None,
    as_json: JsonOption = False,
) -> None:
    """How large a model to train, and on how many tokens, for a budget.

    Example: pliant decide size --fit base.json --compute 1e21 --served 200B
    """
    from pliant.decide.fits.size import decide

    show(decide(fits_of(fit), compute, values_of(at), served, afford), as_json)


@decide_app.command("items")
def items(
    effect: Annotated[float, typer.Option(help="The difference to be seen, in the metric's unit")],
    results: Annotated[list[str], typer.Option("--from", help="Results of one system, or of two: whatever `pliant compare` reads")],
    power: Annotated[float, typer.Option(help="Probability of seeing it")] = 0.8,
    false_alarm: Annotated[float, typer.Option(help="Probability of calling real what is no difference")] = 0.1,
    metric: Annotated[str | None, typer.Option(help="Only this metric", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """How many items and runs an evaluation needs, and from where on a difference counts.

    Example: pliant decide items --effect 0.01 --power 0.8 --from results/base --from results/quantized
    """
    from pliant.decide.items import decide

    found = decide(results, effect, power, false_alarm, metric)
    if as_json:
        print_json(found.json())
        return
    print(found.sentence())
    print(f"  assumes that {found.assumes}")
    for runs, count in found.alternatives if len(found.alternatives) > 1 else ():
        print(f"  or      {runs:,} runs of {count:,} items")


@decide_app.command("sweep")
def sweep(
    fit: FitOption,
    budget: Annotated[float, typer.Option(help="FLOPs that all planned runs may cost", parser=number, show_default=False)],
    compute: ComputeOption = None,
    at: AtOption = "",
    runs: Annotated[int, typer.Option(help="Runs at most")] = 8,
    as_json: JsonOption = False,
) -> None:
    """Which runs, for this budget, narrow the best size for --compute (or the prediction --at N=..,D=..) most.

    Example: pliant decide sweep --fit base.json --budget 1e20 --compute 1e22
    """
    from pliant.decide.fits.sweep import decide

    if len(fit) != 1:
        raise PliantError("this question takes one --fit")
    show(decide(fits_of(fit)[0], budget, compute, values_of(at), runs), as_json)


@decide_app.command("downstream")
def downstream(fit: FitOption, at: AtOption = "", afford: AffordOption = None, as_json: JsonOption = False) -> None:
    """What a task will measure on a larger model: a fit of the loss, then one of the task's accuracy (or error) at a loss.

    Example: pliant decide downstream --fit loss.json --fit task.json --at N=7B,D=4T
    """
    from pliant.decide.fits.downstream import decide

    if len(fit) != 2:
        raise PliantError("this question takes two: --fit LOSS --fit TASK, the second of a law that reads a loss L, such as accuracy")
    loss, task = fits_of(fit)
    show(decide(loss, task, values_of(at), afford), as_json)
