"""`pliant decide method`: which method to fine-tune with, and how."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pliant.cli.change import DeviceOption, JsonOption
from pliant.cli.method_setup import USUAL_STEPS, check, counted, finetune_of, ground_of, kept_of, listed, plan_of_time, rate_of, told_plan
from pliant.cli.output import note, print_json, print_table
from pliant.cli.questions import number
from pliant.errors import PliantError
from pliant.models.ladder import Loading

if TYPE_CHECKING:
    from pliant.decide.methods.answer import MethodDecision


def method_command(
    loading: Loading,
    *,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="A folder, a .gguf file, or a hub name@revision", show_default=False)
    ] = None,
    data: Annotated[str | None, typer.Option(help="What to learn: text, questions and answers, pairs, images", show_default=False)] = None,
    objective: Annotated[
        str | None,
        typer.Option(help="What to learn, instead of --data, as YAML: 'label: {data: reviews.csv}'", show_default=False),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(
            help="What is not to be forgotten, by its loss (builtin:prose): text, a table, images, or an objective as YAML; "
            "with --ledger, a measure",
            show_default=False,
        ),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            help="full (all weights), names, or YAML: 'full, lora: {rank: [4, 8]}, [lora, sfa]'; {name: method} names them; "
            "by default full and every method that says what strengths are worth trying",
            show_default=False,
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option(help=f"Optimizer steps of a run ({USUAL_STEPS})", min=8, show_default=False)] = None,
    budget: Annotated[
        str | None, typer.Option(help="Of the whole search, instead of --steps: steps (20k), or a time (20m, 2h)", show_default=False)
    ] = None,
    trials: Annotated[int, typer.Option(help="Settings that each arm tries", min=1, max=256)] = 8,
    seeds: Annotated[int, typer.Option(help="Fresh seeds for the best setting of each arm", min=1, max=256)] = 3,
    samples: Annotated[int, typer.Option(help="Held-out samples of each text to choose by, and as many to judge by", min=2)] = 128,
    share: Annotated[float, typer.Option(help="How much of the way to the lowest target loss counts as learned")] = 0.9,
    margin: Annotated[
        float | None,
        typer.Option(
            help="Nats/token forgotten that do not matter; by default a twentieth of what is learned", parser=number, show_default=False
        ),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(help="Try rates of all weights around this; by default 1/sqrt(parameters)", parser=number, show_default=False),
    ] = None,
    finetune: Annotated[str, typer.Option(help="How else to train, as YAML: fields of the change `finetune`")] = "{}",
    folder: Annotated[Path | None, typer.Option(help="Where runs are kept; the cache by default", show_default=False)] = None,
    seed: Annotated[int, typer.Option(help="Of the runs that choose; the final runs have the next ones", min=0, max=2**62)] = 0,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Also write a page that holds everything", show_default=False)] = None,
    ledger: Annotated[
        Path | None, typer.Option(help="Instead of --model: answer from the runs of a study that fine-tunes", show_default=False)
    ] = None,
    target: Annotated[str | None, typer.Option(help="With --ledger: the measure of what is learned", show_default=False)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would take, and train no more than a few steps")] = False,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Which method to fine-tune with, at which learning rate and strength: what is learned, and what is forgotten of --keep.

    Every arm tries as many settings, and those that do well are trained on; the best is trained anew with fresh seeds, and arms
    are compared where their target losses are equal. Killed, the same command goes on where it was.

    Example: pliant decide method --model ./checkpoint-1000 --data gsm8k.jsonl --keep builtin:prose --methods full,lora,sfa --budget 2h
    pliant decide method --ledger runs/demo
    """
    if (model is None) == (ledger is None):
        raise PliantError("give a --model to fine-tune, or the --ledger of a study that did, one of the two")
    check(share, margin, lr, steps, budget)
    if ledger is not None or model is None:
        _of_ledger(ledger or Path(), {"target": target, "keep": keep}, share, margin, [data, objective, methods, out], as_json)
        return
    if target is not None:
        raise PliantError("--target is a measure of a --ledger; what to learn is --data or --objective")
    keep = keep or "builtin:prose"
    from pliant.changes.told import corpus_name
    from pliant.decide.methods.arm import parse_arms
    from pliant.decide.methods.decide import decide
    from pliant.report.method_page import write_page

    arms = parse_arms(None if methods is None else listed(methods), "--methods")
    plan, seconds = counted(len(arms), steps, budget, trials, seeds)
    told, kept = finetune_of(data, objective, USUAL_STEPS if plan is None else plan.steps, finetune), kept_of(keep)
    ground = ground_of(model, told, kept, samples, folder, loading, device)
    planned = told_plan(ground, arms, plan) if plan is not None else plan_of_time(ground, arms, seconds, trials, seeds)
    if dry_run:
        return
    named = ", ".join(corpus_name(content) for content in kept.content())
    found = decide(ground, arms, planned, rate_of(ground, lr), keep=named, share=share, margin=margin, seed=seed)
    if out is not None:
        write_page(found, out)
    if as_json:
        print_json(found.json())
    else:
        show_methods(found)
        if out is not None:
            note(f"pliant: wrote {out}")


def _of_ledger(
    ledger: Path, measures: dict[str, str | None], share: float, margin: float | None, others: Sequence[object], as_json: bool
) -> None:
    from pliant.decide.questions import BestMethod
    from pliant.ledger import Ledger

    if any(other is not None for other in others):
        raise PliantError("--ledger has what was trained: leave out --data, --objective, --methods; `pliant report` draws its page")
    question = BestMethod.parse({**measures, "share": share, "margin": margin})
    found = question.answer(Ledger(ledger))
    if as_json:
        print_json([one.json() for one in found])
        return
    for place, one in enumerate(found):
        print("\n" * (place > 0) + one.name)
        show_methods(one)


def show_methods(found: MethodDecision) -> None:
    """The answer first, then the arms, what to beware of, and the command."""
    from pliant.decide.methods.words import lines, table

    print(found.sentence())
    headings, rows = table(found)
    if rows:
        print_table(headings, rows)
    for line in lines(found):
        print(line)
    if found.command:
        print(f"run: {found.command}")
