"""Which losses to fine-tune with, so that the result is good elsewhere: AutoFT beside what is fair to compare it with.

Idea: the losses are searched for with short runs judged on validation data of another kind (`search`); the best settings train in full,
with fresh seeds, and the point is kept that is best on held-out data of the kind that is trained on. Beside it stand two searches as
long: cross-entropy alone, its rate and decay judged on the same validation data (the fair control, since those labels are supervision),
and judged on held-out data. What counts is test data of a third kind, which nothing was chosen by.
When to use it: some hundred labelled examples from elsewhere are at hand, and where the model will be used is elsewhere again.
Cost: 3 x (trials x steps of a trial) + 3 x seeds whole runs, and their readings.
What goes wrong: most of the gain is often that of the rate and decay; the answer tells what is left over the control. Validation data
that is like the training data, or the test data like validation, answers another question.
Source: arXiv 2401.10220.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pliant.changes.told import corpus_name
from pliant.comparison.effect import Effect, effect
from pliant.decide.losses.answer import LossArm, LossDecision, LossTest
from pliant.decide.losses.search import LossSearch, LossTrial, usual
from pliant.decide.losses.validation import Validation, measure_of
from pliant.decide.methods.command import command
from pliant.decide.methods.ground import Ground, Half
from pliant.decide.methods.trial import TuningTrial
from pliant.errors import PliantError
from pliant.files import disk_errors
from pliant.models.heads import fitted
from pliant.progress import progress
from pliant.statistics import cluster_numbers

if TYPE_CHECKING:
    from pliant.changes import Finetune
    from pliant.decide.methods.path import Advance
    from pliant.measures import Measure, Reading
    from pliant.models import Model

SEARCHED, CONTROL, PLAIN = "autoft", "cross-entropy", "cross-entropy, held-out"
"""The arms: all losses, and cross-entropy alone judged on the same validation data, and on held-out data."""
PARTS = 4
"""Where a run is read whose length is given in steps; of epochs, at the end of each."""


@dataclass(frozen=True)
class LossPlan:
    """How much is tried, and how long."""

    trials: int = 100
    trial_steps: int = 20
    seeds: int = 3
    seed: int = 0


def decide(
    model: Model,
    address: str,
    finetune: Finetune,
    validation: Validation,
    tests: Sequence[Measure],
    losses: Sequence[str] | None,
    plan: LossPlan,
    folder: Path,
) -> LossDecision:
    """The losses, rate and decay for this base and data.

    Args:
        model: The base; it is left as it was.
        address: Where it lies, for the command.
        finetune: How whole runs train; its `lr` is the middle of those tried.
        validation: What trials are judged by.
        tests: What is told of the whole runs: the first reading of each.
        losses: Which are tried beside the cross-entropy; by default all that there are for such a network.
        plan: How much is tried.
        folder: Where trials and runs are kept; a search found there goes on.

    Raises PliantError for data that cannot be read, losses the objective does not have, another search at work in the folder.
    """
    from filelock import FileLock, Timeout

    weights, learned = model.weights(), finetune.learned
    kept = Validation((measure_of(learned, "heldout"),))
    first = fitted(model, learned.needs())
    asked = usual(first) if losses is None else losses
    judges = {SEARCHED: validation, CONTROL: validation, PLAIN: kept}
    searches = {
        name: LossSearch(
            model, weights, finetune, plan.trial_steps, judge, judge.read(first)[1], asked if name == SEARCHED else (), folder, plan.seed
        )
        for name, judge in judges.items()
    }
    for search in searches.values():
        search.check()
    before = [measure.readings(first)[0] for measure in tests]
    half = _half(first, kept, tests)
    points = _points(finetune, model)
    with disk_errors(folder), ExitStack() as held:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            held.enter_context(FileLock(folder / "lock", timeout=0))
        except Timeout:
            raise PliantError(f"{folder}: another search is at work there; wait for it, or give another --folder") from None
        total = len(searches) * (plan.trials * plan.trial_steps + plan.seeds * points[-1])
        with progress("trying losses", float(total)) as advance:
            tried = {name: search.run(plan.trials, lambda n: advance(n * plan.trial_steps)) for name, search in searches.items()}
            arms: list[LossArm] = []
            for name, search in searches.items():
                best = search.best(tried[name])
                told = best.settings.finetune(finetune, steps=points[-1], epochs=None)
                ground = Ground(model, address, weights, told, half, half, folder)
                runs = [TuningTrial(ground, told.lr, told.methods, plan.seed + 1 + number, half) for number in range(plan.seeds)]
                arms.append(_arm(name, best, tried[name], runs, points, advance))
    found, start = list[LossTest](), 0
    for measure, test in zip(tests, before, strict=True):
        rows = slice(start, start := start + len(test.samples))
        found.append(_tested(measure, test, rows, arms))
    return LossDecision(arms, found, plan.trials, plan.trial_steps, plan.seeds, searches[SEARCHED].better, str(folder))


def _half(model: Model, kept: Validation, tests: Sequence[Measure]) -> Half:
    """What a whole run is read by: held-out data of its own, and all tests as one."""

    def keeps(asked: Model) -> Sequence[Reading]:
        return kept.readings(asked)

    def told(asked: Model) -> Sequence[Reading]:
        found = [measure.readings(asked)[0] for measure in tests] or kept.readings(asked)
        return [
            replace(
                found[0],
                samples=[sample for one in found for sample in one.samples],
                values=np.concatenate([one.values for one in found]),
                weights=np.concatenate([one.weights for one in found]),
                clusters=[f"{number} {cluster}" for number, one in enumerate(found) for cluster in one.clusters],
                answers=(),
            )
        ]

    return Half((keeps, told), keeps(model)[0], told(model)[0])


def _points(finetune: Finetune, model: Model) -> list[int]:
    """Where a run is read: at the ends of its epochs, where a shorter run is the beginning of a longer one; else at its end alone."""
    steps = finetune.recipe(model).steps or 1
    count = max(1, round(finetune.epochs or PARTS)) if finetune.schedule.open_ended else 1
    return sorted({max(1, round(steps * (n + 1) / count)) for n in range(count)})


def _arm(name: str, best: LossTrial, tried: list[LossTrial], runs: list[TuningTrial], points: list[int], advance: Advance) -> LossArm:
    """Whole runs with the best settings, at the point that is best on held-out data of their own, on average over seeds."""
    half, paths = runs[0].half, []
    try:
        for run in runs:
            paths.append(run.path(points, advance))
            run.forget()
    except PliantError as error:
        return LossArm(name, best.settings, best.value, tried, told=str(error))
    kept = np.mean([path.losses[1:] for path in paths], axis=0)  # (points,) in the measure's own direction
    place = int(kept.argmax() if half.target.better == "higher" else kept.argmin())
    values = np.stack([path.rises[place + 1] for path in paths]) + half.keep.values
    there = points[place]
    return LossArm(name, best.settings, best.value, tried, there, float(kept[place]), values, command=_command(runs[0], there))


def _command(run: TuningTrial, steps: int) -> str:
    """What trains like the first of the runs, as far as it was best."""
    return command(run.ground.address, run.ground.finetune, run, steps).replace(" -o OUT", f" --seed {run.seed} -o OUT")


def _tested(measure: Measure, test: Reading, rows: slice, arms: Sequence[LossArm]) -> LossTest:
    """What every arm reads on one test, and how much better the first one is: higher is better, whatever its metric."""
    read = {arm.name: arm.values[:, rows] for arm in arms if arm.values is not None}
    means = {name: float((values @ test.weights).mean() / test.weights.sum()) for name, values in read.items()}
    sign, step = 1.0 if test.better == "higher" else -1.0, 1.0 if set(np.unique(test.values)) <= {0.0, 1.0} else 0.0
    families, gains, ours = cluster_numbers(test.clusters), dict[str, Effect](), read.pop(arms[0].name, None)
    if ours is not None:
        gains = {name: effect(sign * b, sign * ours, test.weights, families, step, same_runs=True) for name, b in read.items()}
    name = ", ".join(map(corpus_name, measure.content())) or measure.label()
    return LossTest(name, test.metric, test.unit, means, gains)
