"""What `pliant decide method` is told, made into the base, the data, the arms and the plan of its search."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pliant.cli.fields import yaml_option
from pliant.errors import PliantError
from pliant.numbers import format_count, format_seconds
from pliant.progress import remark

if TYPE_CHECKING:
    from pathlib import Path

    from pliant.changes import Finetune
    from pliant.decide.methods.arm import TuningArm
    from pliant.decide.methods.ground import Ground
    from pliant.decide.methods.plan import SearchPlan
    from pliant.models.ladder import Loading
    from pliant.objectives import Objective

USUAL_STEPS = 200
OWN_OPTIONS = {
    "data": "--data",
    "objective": "--objective",
    "lr": "--lr",
    "steps": "--steps",
    "epochs": "--steps",
    "methods": "--methods",
    "draws": "--seeds",
}


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


def listed(text: str) -> Any:
    """`full, lora: {rank: 8}` is a list without its brackets."""
    form = text.strip()
    return yaml_option(form if form.startswith(("[", "{")) else f"[{form}]", "--methods")


def rate_of(ground: Ground, lr: float | None) -> float:
    """What was asked for, or what is usual for all weights of a network of this size."""
    from pliant.decide.methods.arm import usual_rate

    return lr if lr is not None else usual_rate(sum(parameter.numel() for parameter in ground.model.network.parameters()))


def finetune_of(data: str | None, objective: str | None, steps: int, form: str) -> Finetune:
    """How runs train, but for learning rate and methods. Raises PliantError for what no fine-tuning takes."""
    from pliant.changes import Finetune

    fields = yaml_option(form, "--finetune") or {}
    if not isinstance(fields, dict):
        raise PliantError(f"--finetune {form!r}: give fields, such as '{{batch: 16, length: 128}}'")
    if own := next((name for name in fields if name in OWN_OPTIONS), None):
        raise PliantError(f"--finetune: {own} has an option of its own, {OWN_OPTIONS[own]}")
    if (data is None) == (objective is None):
        raise PliantError("give what to learn: --data FILE, or --objective YAML, one of the two")
    what = {"data": yaml_option(data, "--data")} if data is not None else {"objective": yaml_option(objective or "", "--objective")}
    return Finetune.parse({**what, "lr": 1.0, "steps": steps, **fields}, "--finetune")


def kept_of(form: str) -> Objective:
    """What is not to be forgotten: an objective, or what a source's columns call for. Raises PliantError for what cannot be read."""
    from pliant.data import Corpus
    from pliant.objectives import OBJECTIVES, found_in

    told = yaml_option(form, "--keep")
    if isinstance(told, dict) and len(told) == 1 and next(iter(told)) in OBJECTIVES:
        return OBJECTIVES.parse(told, "--keep").held_out()
    try:
        return found_in(Corpus.parse(told), "heldout")
    except PliantError as error:
        raise error.within("--keep") from None


def ground_of(
    model: str, told: Finetune, kept: Objective, samples: int, folder: Path | None, loading: Loading, device: str | None
) -> Ground:
    """The base, loaded and read once. Raises PliantError for a model or data that cannot be read."""
    from pliant.decide.methods.ground import Ground, halves
    from pliant.files import cache_folder
    from pliant.models import load

    for content, option in ((told, "--data"), (kept, "--keep")):
        for part in content.content():
            try:
                part.fingerprint()
            except PliantError as error:
                raise error.within(option) from None
    for note in told.notes():
        remark(note)
    loaded = load(model, device=device, **loading.loading())
    tuning, judging = halves(loaded, told.learned, kept, samples)
    place = folder or cache_folder() / "methods"
    return Ground(loaded, model, loaded.weights(), told, tuning, judging, place)


def counted(arms: int, steps: int | None, budget: str | None, trials: int, seeds: int) -> tuple[SearchPlan | None, float]:
    """The plan, where it is known without a clock, and else the seconds that there are."""
    from pliant.decide.methods.plan import SearchPlan, fitting, parse_budget

    if budget is None:
        return SearchPlan(steps or USUAL_STEPS, trials, seeds), 0.0
    counted, seconds = parse_budget(budget)
    return (fitting(arms, trials, seeds, counted), 0.0) if counted is not None else (None, seconds or 0.0)


def told_plan(ground: Ground, arms: list[TuningArm], plan: SearchPlan) -> SearchPlan:
    """The plan, told with what it takes."""
    from pliant.decide.methods.timing import seconds

    try:
        step, reading = seconds(ground)
        takes = f", about {format_seconds(len(arms) * (plan.arm_steps * step + plan.arm_readings * reading))} at {step:.3g} s a step"
    except PliantError:  # some arms may still run where all weights do not
        takes = ""
    _tell(ground, arms, plan, takes)
    return plan


def plan_of_time(ground: Ground, arms: list[TuningArm], timed: float, trials: int, seeds: int) -> SearchPlan:
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
