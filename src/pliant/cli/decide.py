"""`pliant decide`: answers from saved fits and from ledgers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pliant.cli.change import JsonOption
from pliant.cli.output import print_json, print_table
from pliant.errors import PliantError
from pliant.numbers import format_count, parse_count

if TYPE_CHECKING:
    from pliant.decide import Decision
    from pliant.laws import Fit

decide_app = typer.Typer(help="Answer a question from a ledger or from saved fits.", no_args_is_help=True, pretty_exceptions_enable=False)


def _number(text: str) -> float:
    """`16M`, `1e20` or `0.05`."""
    try:
        return float(text)
    except ValueError:
        try:
            return float(parse_count(text))
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None


FitOption = Annotated[
    list[Path], typer.Option("--fit", help="A fit saved by `pliant fit --save`; its predictions are summed with the others'")
]
AtOption = Annotated[str, typer.Option("--at", help="What is given, by the laws' columns: N=30M,Ppost=4", show_default=False)]
AffordOption = Annotated[
    float | None, typer.Option("--afford", help="FLOPs that the next run may cost", parser=_number, show_default=False)
]
ComputeOption = Annotated[
    float | None, typer.Option("--compute", help="Training FLOPs of 16-bit arithmetic", parser=_number, show_default=False)
]


@decide_app.command("checkpoint")
def checkpoint(
    ledger: Annotated[Path, typer.Option("--ledger", help="A ledger's folder", show_default=False)], as_json: JsonOption = False
) -> None:
    """Which checkpoint of a ladder is best after each change.

    Example: pliant decide checkpoint --ledger runs/demo
    """
    from pliant.decide.checkpoint import decide

    decisions = decide(ledger)
    if as_json:
        print_json([decision.json() for decision in decisions])
    else:
        rows = [[str(decision.change), decision.metric, decision.verdict, decision.sentence()] for decision in decisions]
        print_table(["change", "measure", "verdict", "answer"], rows)


@decide_app.command("tokens")
def tokens(
    fit: FitOption,
    at: AtOption = "",
    most: Annotated[
        float | None, typer.Option(help="Search up to so many tokens, beyond the measured", parser=_number, show_default=False)
    ] = None,
    afford: AffordOption = None,
    as_json: JsonOption = False,
) -> None:
    """How many tokens to pretrain on, given the changes to come.

    Example: pliant decide tokens --fit base.json --fit rise.json --at N=30M,Ppost=4
    """
    from pliant.decide.tokens import decide

    _show(decide(_fits(fit), _values(at), most, afford), as_json)


@decide_app.command("size")
def size(
    fit: FitOption,
    compute: Annotated[float, typer.Option(help="FLOPs for training and serving", parser=_number, show_default=False)],
    served: Annotated[float, typer.Option(help="Tokens that will be served", parser=_number)] = 0.0,
    at: AtOption = "",
    afford: AffordOption = None,
    as_json: JsonOption = False,
) -> None:
    """How large a model to train, and on how many tokens, for a budget.

    Example: pliant decide size --fit base.json --compute 1e21 --served 200B
    """
    from pliant.decide.size import decide

    _show(decide(_fits(fit), compute, _values(at), served, afford), as_json)


@decide_app.command("bits")
def bits(
    fit: FitOption,
    compute: ComputeOption = None,
    memory: Annotated[float | None, typer.Option(help="Bytes the weights may take when served", parser=_number, show_default=False)] = None,
    floor: Annotated[float | None, typer.Option(help="Nats/token that rounding may cost", show_default=False)] = None,
    at: AtOption = "",
    afford: AffordOption = None,
    as_json: JsonOption = False,
) -> None:
    """How many bits to train in (--compute), to serve in (--memory), or to round to (--floor).

    Example: pliant decide bits --fit training_bits.json --compute 1e21
    pliant decide bits --fit ptq.json --floor 0.01 --at N=30M,D=26B
    """
    from pliant.decide import bits as question

    given = {"compute": compute, "memory": memory, "floor": floor}
    chosen = [name for name, value in given.items() if value is not None]
    if len(chosen) != 1:
        raise PliantError("give exactly one of --compute (bits to train in), --memory (to serve in) and --floor (to round to)")
    answer = {"compute": question.training, "memory": question.serving, "floor": question.rounding}[chosen[0]]
    _show(answer(_fits(fit), given[chosen[0]] or 0.0, _values(at), afford), as_json)


@decide_app.command("data")
def data(
    fit: FitOption,
    samples: Annotated[float | None, typer.Option(help="Samples to train on: which pools", parser=_number, show_default=False)] = None,
    unique: Annotated[
        float | None, typer.Option(help="Unique tokens there are: how far to repeat them", parser=_number, show_default=False)
    ] = None,
    compute: ComputeOption = None,
    at: AtOption = "",
    afford: AffordOption = None,
    as_json: JsonOption = False,
) -> None:
    """Which pools to train on (--samples), or how far to repeat the data there is (--unique with --compute).

    Example: pliant decide data --fit good.json --fit web.json --samples 640M
    pliant decide data --fit repetition.json --unique 10B --compute 1e21
    """
    from pliant.decide import data as question

    fits = _fits(fit)
    if samples is not None and unique is None:
        _show(question.pools(dict(zip([path.stem for path in fit], fits, strict=True)), samples, afford), as_json)
    elif samples is None and unique is not None and compute is not None:
        _show(question.epochs(fits[0], unique, compute, _values(at), afford), as_json)
    else:
        raise PliantError("give --samples (which pools), or --unique with --compute (how far to repeat)")


def _fits(paths: Sequence[Path]) -> list[Fit]:
    from pliant.laws import Fit

    return [Fit.read(path) for path in paths]


def _values(text: str) -> dict[str, float]:
    """`N=30M,Ppost=4` as numbers."""
    values: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = part.partition("=")
        if not value:
            raise PliantError(f"--at {part!r}: write NAME=VALUE, such as N=30M")
        values[name.strip()] = _number(value.strip())
    return values


def _show(decision: Decision, as_json: bool) -> None:
    if as_json:
        print_json(decision.json())
        return
    print(f"{decision.question}: {decision.sentence()}")
    for audit in decision.audit:
        print("  audit  " + ", ".join(f"{name} {value}" for name, value in audit.items()))
    for lever in decision.levers:
        gain = f"{lever['gain']:+.4g}" if lever.get("gain") is not None else lever.get("note", "")
        print(f"  lever  {lever['lever']}: {gain}")
    if decision.next is not None:
        run = ", ".join(f"{name} {format_count(value)}" for name, value in decision.next["run"].items())
        print(f"  next   measure {run}: would remove {decision.next['variance_removed']:.0%} of the variance")
