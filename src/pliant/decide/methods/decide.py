"""Which method to fine-tune with, and how: tune every arm with one budget, train what won anew, compare at equal target loss.

Idea: settings are chosen by successive halving (`plan`), on half of the held-out samples: of those that make `share` of the way that the
best makes (and a twentieth more, to be safe), the one that has forgotten least at that target loss. What was chosen is trained with
fresh seeds and read on the other half. The arm that has forgotten least at a target loss that all good arms reach is recommended,
unless others are equivalent within a margin (the arm given first among them stands for all), or cannot be told apart.
When to use it: before fine-tuning in earnest, with runs as long as you can afford.
Cost: with 8 settings and 3 seeds 7 runs an arm, and as many readings as `plan` says; every arm takes the same number of steps, which is
not the same time where a method is slower a step.
What goes wrong: rates that are best for short runs are too high for long ones; a setting that is best only late is dropped early.
Source: learning against forgetting at tuned rates, arXiv 2405.09673; successive halving, arXiv 1502.07943.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from pliant.changes.restore import sweep
from pliant.changes.told import corpus_name
from pliant.decide.methods.command import command
from pliant.decide.methods.halving import Finalist, TunedArm, tune
from pliant.decide.methods.judge import SLACK, JudgedOn, judged
from pliant.decide.methods.path import Advance, Trial, TunedPath, level_of, ranked
from pliant.decide.methods.together import Together, one_by_one, side_by_side
from pliant.decide.methods.trial import TuningTrial
from pliant.errors import PliantError
from pliant.files import disk_errors
from pliant.progress import progress

if TYPE_CHECKING:
    from pliant.decide.methods.answer import MethodDecision
    from pliant.decide.methods.arm import TuningArm
    from pliant.decide.methods.ground import Ground
    from pliant.decide.methods.plan import SearchPlan
    from pliant.methods import Method

Trials = Callable[[float, "tuple[Method, ...]", int, bool], Trial]
"""A run by its learning rate, methods and seed, and whether it is read on the samples that judge or on those that choose."""


def decide(
    ground: Ground,
    arms: Sequence[TuningArm],
    plan: SearchPlan,
    rate: float,
    *,
    keep: str,
    share: float = 0.9,
    margin: float | None = None,
    seed: int = 0,
) -> MethodDecision:
    """The method and settings for this base and data.

    Args:
        ground: The base, its data, and what is read.
        arms: What is compared; of equivalent ones the first is recommended.
        plan: How long, how many.
        rate: Where the learning rates of full fine-tuning are tried around.
        keep: What the kept text is called.
        share: How much of the way to the lowest target loss counts as learned.
        margin: Nats/token forgotten that make no difference; by default a twentieth of what is learned.
        seed: Of the runs that choose; the final runs have the next ones.

    Raises PliantError where another search is at work in the folder, or it cannot be written.
    """
    from filelock import FileLock, Timeout

    ground = replace(ground, finetune=ground.finetune.model_copy(update={"steps": plan.steps}))

    def trial(lr: float, methods: tuple[Method, ...], own_seed: int, judges: bool) -> TuningTrial:
        return TuningTrial(ground, lr, methods, own_seed, ground.judging if judges else ground.tuning)

    with disk_errors(ground.folder), ExitStack() as held:
        ground.folder.mkdir(parents=True, exist_ok=True)
        try:
            held.enter_context(FileLock(ground.folder / "lock", timeout=0))
        except Timeout:
            raise PliantError(f"{ground.folder}: another search is at work there; wait for it, or give another --folder") from None
        held.enter_context(sweep(ground.model))
        with progress("trying methods", float(len(arms) * plan.arm_steps)) as advance:
            tuned, finalists = search(arms, plan, rate, trial, share, seed, advance, side_by_side)
    about = JudgedOn(
        ground.judging,
        plan,
        ", ".join(map(corpus_name, ground.finetune.trains_on)),
        keep,
        str(ground.folder),
        lambda chosen: command(ground.address, ground.finetune, chosen, plan.steps),
    )
    return judged(tuned, finalists, about, share, margin)


def search(
    arms: Sequence[TuningArm],
    plan: SearchPlan,
    rate: float,
    trial: Trials,
    share: float,
    seed: int,
    advance: Advance,
    together: Together = one_by_one,
) -> tuple[list[TunedArm], list[Finalist]]:
    """Every arm tuned, and the best of each trained anew; `trial` makes the runs, wherever they come from, `together` several at once."""
    asked = min(1.0, share + SLACK)  # so that fresh seeds come to the loss of the comparison, too
    tuned: list[TunedArm] = []
    for arm in arms:
        trials = [trial(lr, methods, seed, False) for lr, methods in arm.settings(plan.trials, rate)]
        tuned.append(tune(arm, trials, plan, asked, advance, together))
    return tuned, trained_anew(tuned, plan, trial, asked, seed, advance, together)


def trained_anew(
    tuned: Sequence[TunedArm],
    plan: SearchPlan,
    trial: Trials,
    share: float,
    seed: int,
    advance: Advance,
    together: Together = one_by_one,
) -> list[Finalist]:
    """Of each arm the best setting at the level that all arms together set, with fresh seeds; the next best where one diverges."""
    finished = [path for one in tuned for _, path in one.finished]
    if not finished:
        return []
    level = level_of(float(finished[0].losses[0]), min(path.least for path in finished), share)
    found: list[Finalist] = []
    for one in tuned:
        paths = [path for _, path in one.finished]
        for number in ranked(paths, share, level) if paths else []:
            chosen = one.finished[number][0]
            fresh = [trial(chosen.lr, chosen.methods, seed + 1 + count, True) for count in range(plan.seeds)]
            together(fresh, plan.along)
            try:
                found.append(Finalist(one, chosen, [_to_the_end(run, plan, advance) for run in fresh]))
                break
            except PliantError as error:
                one.dropped.append((chosen, str(error)))
    return found


def _to_the_end(trial: Trial, plan: SearchPlan, advance: Advance) -> TunedPath:
    path = trial.path(plan.along, advance)
    trial.forget()
    return path
