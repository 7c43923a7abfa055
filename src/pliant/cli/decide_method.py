"""`pliant decide method`: which method to fine-tune with, and how."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pliant.cli.change import DeviceOption, JsonOption, ModelOption
from pliant.cli.fields import yaml_option
from pliant.cli.output import print_json, print_table
from pliant.cli.questions import number
from pliant.errors import PliantError
from pliant.models.ladder import Loading
from pliant.numbers import format_count, format_seconds
from pliant.progress import remark

if TYPE_CHECKING:
    from pliant.changes import Finetune
    from pliant.decide.methods.answer import ArmResult, MethodDecision
    from pliant.decide.methods.arm import TuningArm
    from pliant.decide.methods.ground import Ground
    from pliant.decide.methods.plan import SearchPlan

USUAL_STEPS = 200
OWN_OPTIONS = {"data": "--data", "lr": "--lr", "steps": "--steps", "epochs": "--steps", "methods": "--methods", "draws": "--seeds"}


def method_command(
    loading: Loading,
    *,
    model: ModelOption,
    data: Annotated[str, typer.Option(help="What to learn: text, or questions and answers", show_default=False)],
    keep: Annotated[str, typer.Option(help="Text, or questions and answers, whose loss should not rise")] = "builtin:prose",
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
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would take, and train no more than a few steps")] = False,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Which method to fine-tune with, at which learning rate and strength: what is learned, and what is forgotten of --keep.

    Every arm tries as many settings, and those that do well are trained on; the best is trained anew with fresh seeds, and arms
    are compared where their target losses are equal. Killed, the same command goes on where it was.

    Example: pliant decide method --model ./checkpoint-1000 --data gsm8k.jsonl --keep builtin:prose --methods full,lora,sfa --budget 2h
    """
    from pliant.decide.methods.arm import parse_arms
    from pliant.decide.methods.decide import decide

    check(share, margin, lr, steps, budget)
    arms = parse_arms(None if methods is None else _listed(methods), "--methods")
    plan, seconds = _counted(len(arms), steps, budget, trials, seeds)
    told = _finetune(data, USUAL_STEPS if plan is None else plan.steps, finetune)
    ground = _ground(model, told, keep, samples, folder, loading, device)
    planned = _told(ground, arms, plan) if plan is not None else _of_time(ground, arms, seconds, trials, seeds)
    if dry_run:
        return
    parameters = sum(parameter.numel() for parameter in ground.model.network.parameters())
    rate = lr if lr is not None else _usual(parameters)
    found = decide(ground, arms, planned, rate, keep=_name(keep), share=share, margin=margin, seed=seed)
    print_json(found.json()) if as_json else show_methods(found)


def check(share: float, margin: float | None, lr: float | None, steps: int | None, budget: str | None) -> None:
    """Raises PliantError for numbers that cannot be."""
    if not 0 < share <= 1:
        raise PliantError(f"--share {share:g}: give more than 0, and at most 1")
    if margin is not None and not margin >= 0:
        raise PliantError(f"--margin {margin:g}: give 0 or more nats/token")
    if lr is not None and not lr > 0:
        raise PliantError(f"--lr {lr:g}: give a learning rate above 0")
    if steps is not None and budget is not None:
        raise PliantError("give --steps of a run or the --budget of the whole search, not both")


def _listed(text: str) -> Any:
    """`full, lora: {rank: 8}` is a list without its brackets."""
    form = text.strip()
    return yaml_option(form if form.startswith(("[", "{")) else f"[{form}]", "--methods")


def _name(keep: str) -> str:
    from pliant.changes.told import corpus_name
    from pliant.data import Corpus

    return corpus_name(Corpus.parse(yaml_option(keep, "--keep"), "--keep"))


def _usual(parameters: int) -> float:
    from pliant.decide.methods.arm import usual_rate

    return usual_rate(parameters)


def _finetune(data: str, steps: int, form: str) -> Finetune:
    from pliant.changes import Finetune

    fields = yaml_option(form, "--finetune") or {}
    if not isinstance(fields, dict):
        raise PliantError(f"--finetune {form!r}: give fields, such as '{{batch: 16, length: 128}}'")
    if own := next((name for name in fields if name in OWN_OPTIONS), None):
        raise PliantError(f"--finetune: {own} has an option of its own, {OWN_OPTIONS[own]}")
    return Finetune.parse({"data": yaml_option(data, "--data"), "lr": 1.0, "steps": steps, **fields}, "--finetune")


def _ground(model: str, told: Finetune, keep: str, samples: int, folder: Path | None, loading: Loading, device: str | None) -> Ground:
    """The base, loaded and read once."""
    from pliant.data import Corpus
    from pliant.decide.methods.ground import Ground, halves
    from pliant.files import cache_folder
    from pliant.models import load

    kept = Corpus.parse(yaml_option(keep, "--keep"), "--keep")
    learned = told.learned
    for content, option in ((told, "--data"), (kept, "--keep")):
        for part in content.content():
            try:
                part.fingerprint()
            except PliantError as error:
                raise error.within(option) from None
    for note in told.notes():
        remark(note)
    loaded = load(model, device=device, **loading.loading())
    tuning, judging = halves(loaded, learned, kept, samples)
    place = folder or cache_folder() / "methods"
    return Ground(loaded, model, loaded.weights(), told, tuning, judging, place)


def _counted(arms: int, steps: int | None, budget: str | None, trials: int, seeds: int) -> tuple[SearchPlan | None, float]:
    """The plan, where it is known without a clock, and else the seconds that there are."""
    from pliant.decide.methods.plan import SearchPlan, fitting, parse_budget

    if budget is None:
        return SearchPlan(steps or USUAL_STEPS, trials, seeds), 0.0
    counted, seconds = parse_budget(budget)
    return (fitting(arms, trials, seeds, counted), 0.0) if counted is not None else (None, seconds or 0.0)


def _told(ground: Ground, arms: list[TuningArm], plan: SearchPlan) -> SearchPlan:
    """The plan, told with what it takes."""
    from pliant.decide.methods.timing import seconds

    try:
        step, reading = seconds(ground)
        takes = f", about {format_seconds(len(arms) * (plan.arm_steps * step + plan.arm_readings * reading))} at {step:.3g} s a step"
    except PliantError:  # some arms may still run where all weights do not
        takes = ""
    _tell(ground, arms, plan, takes)
    return plan


def _of_time(ground: Ground, arms: list[TuningArm], timed: float, trials: int, seeds: int) -> SearchPlan:
    """The plan that fits into so many seconds; a search that goes on keeps the one it began with."""
    from pliant.decide.methods.plan import SearchPlan, fitting
    from pliant.decide.methods.timing import seconds
    from pliant.files import write_atomic
    from pliant.spec import content_form, digest
    from pliant.spec.yaml import read_json

    told = [
        ground.weights,
        ground.finetune.canonical(),
        content_form(ground.finetune.learned),
        timed,
        trials,
        seeds,
        [a.name for a in arms],
    ]
    place = ground.folder / f"plan-{digest(json.dumps([*told, ground.tuning.identity], sort_keys=True))}.json"
    known = read_json(place).get("steps") if place.is_file() else None
    if isinstance(known, int) and known > 0:
        plan = SearchPlan(known, trials, seeds)
        _tell(ground, arms, plan, f", as planned for {format_seconds(timed)} when the search began")
        return plan
    step, reading = seconds(ground)
    plan = fitting(len(arms), trials, seeds, timed, step, reading)
    ground.folder.mkdir(parents=True, exist_ok=True)
    write_atomic(place, json.dumps({"steps": plan.steps}))
    _tell(ground, arms, plan, f", about {format_seconds(timed)} at {step:.3g} s a step")
    return plan


def _tell(ground: Ground, arms: list[TuningArm], plan: SearchPlan, takes: str) -> None:
    size = 3 * sum(parameter.numel() * parameter.element_size() for parameter in ground.model.network.parameters())
    names = ", ".join(arm.name for arm in arms)
    remark(
        f"{len(arms)} arms ({names}), {plan.trials} settings each, {plan.seeds} seeds, runs of {plan.steps:,} steps: "
        f"{len(arms) * plan.arm_steps:,} steps{takes}; up to {format_count(plan.trials * size)}B of states in {ground.folder}"
    )


def show_methods(found: MethodDecision) -> None:
    """The answer first, then the arms, what to beware of, and the command."""
    print(found.sentence())
    rows = [_row(arm) for arm in found.arms]
    if rows:
        at = "" if found.level is None else f" at {found.level:.4g}"
        print_table(["arm", "settings", "verdict", "learned", "forgotten", f"forgotten{at}", "at step", "more than the first"], rows)
    for arm in found.arms:
        if arm.verdict == "failed":
            print(f"failed: {arm.name}: {arm.told}")
    for caveat in found.caveats:
        print(f"but: {caveat}")
    if found.command:
        print(f"run: {found.command}")


def _row(arm: ArmResult) -> list[str]:
    if arm.lr is None or arm.learned is None or arm.forgotten is None:
        return [arm.name, "", arm.verdict, "", "", "", "", ""]
    told = [f"{one.value:.4f} [{one.low:.4f}, {one.high:.4f}]" for one in (arm.learned, arm.forgotten)]
    matched = ["", ""] if arm.matched is None else [f"{arm.matched:.4f}", f"{arm.matched_steps:.0f}"]
    more = "" if arm.difference is None else f"{arm.difference.value:+.4f} [{arm.difference.low:+.4f}, {arm.difference.high:+.4f}]"
    return [arm.name, arm.short(), arm.verdict, *told, *matched, more]
