"""Tuning one arm: many settings trained a little, the better ones on, see `plan`. Those that fail are dropped with a word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pliant.decide.methods.arm import TuningArm
from pliant.decide.methods.path import Advance, Trial, TunedPath, promising
from pliant.decide.methods.plan import SearchPlan
from pliant.decide.methods.together import Together, one_by_one
from pliant.errors import PliantError


@dataclass
class TunedArm:
    """An arm with its trials that were trained to the end, best first, and what became of the others."""

    arm: TuningArm
    rates: tuple[float, float]
    """The lowest and the highest that was tried."""
    finished: list[tuple[Trial, TunedPath]] = field(default_factory=list[tuple[Trial, TunedPath]])
    tried: list[tuple[Trial, TunedPath]] = field(default_factory=list[tuple[Trial, TunedPath]])
    """Every trial as far as it was trained."""
    dropped: list[tuple[Trial, str]] = field(default_factory=list[tuple[Trial, str]])
    """Those that diverged or failed, and why."""


@dataclass(frozen=True)
class Finalist:
    """An arm's best setting, trained with fresh seeds."""

    tuned: TunedArm
    trial: Trial
    paths: Sequence[TunedPath]

    @property
    def chosen_by(self) -> TunedPath:
        """The run that chose it."""
        return next(path for trial, path in self.tuned.finished if trial is self.trial)

    @property
    def least(self) -> float:
        """The target loss that every seed reaches."""
        return max(path.least for path in self.paths)


def tune(
    arm: TuningArm, trials: Sequence[Trial], plan: SearchPlan, share: float, advance: Advance, together: Together = one_by_one
) -> TunedArm:
    """Successive halving over the arm's trials. Its errors are told in the answer, so that other arms go on."""
    found = TunedArm(arm, (min(trial.lr for trial in trials), max(trial.lr for trial in trials)))
    left, before = list(trials), 0
    for point, count in plan.rungs:
        for trial in left[count:]:
            trial.forget()
        left = left[:count]
        reached = [early for early in plan.early if early <= point]
        paths: list[tuple[Trial, TunedPath]] = []
        together(left, reached)
        for trial in left:
            try:
                paths.append((trial, trial.path(reached, _only_from(before, advance))))
            except PliantError as error:
                found.dropped.append((trial, str(error)))
        order = promising([path for _, path in paths], share, plan.steps) if paths else []
        before = point
        left = [paths[number][0] for number in order]
        found.finished = [paths[number] for number in order]
        running = {id(trial) for trial in left}
        found.tried = [pair for pair in found.tried if id(pair[0]) not in running] + found.finished
    for trial in left:
        trial.forget()
    return found


def _only_from(before: int, advance: Advance) -> Advance:
    """Steps up to `before` were told at the rung before."""
    done = 0.0

    def told(steps: float) -> None:
        nonlocal done
        done += steps
        if done > before:
            advance(min(steps, done - before))

    return told
