"""What findings about forgetting share: a base pretrained on one text, arms fine-tuned on another, and a comparison at equal target loss.

Runs, readings and comparison are those of `pliant decide method`; here a few arms have small grids, and every setting runs to its end.
What goes wrong: seeds draw the order of the data; the base is one, so an interval says nothing of other bases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pliant.changes import Finetune
from pliant.comparison.effect import Effect
from pliant.data import Corpus
from pliant.decide.methods.ground import Ground, halves
from pliant.decide.methods.path import TunedPath, level_of, ranked
from pliant.decide.methods.trial import TuningTrial, again
from pliant.decide.methods.versus import difference
from pliant.errors import PliantError
from pliant.findings.finding import Size
from pliant.findings.tuned import FIRST_FRESH_SEED
from pliant.methods import METHODS
from pliant.models import load
from pliant.objectives import NextToken
from pliant.train import Diverged, TrainedLadder

Form = tuple[float, list[Any]]
"""A learning rate, and methods as plain JSON values."""


@dataclass(frozen=True)
class ForgettingScale:
    """How much is trained at one size."""

    preset: str
    pretraining: int
    """Steps."""
    points: tuple[int, ...]
    """Fine-tuning steps after which both losses are read."""
    samples: int
    """Held-out windows, of which one half chooses and the other judges."""
    seeds: int
    rates: tuple[float, ...]
    """Of full fine-tuning."""
    context: int = 64


SCALES: dict[Size, ForgettingScale] = {
    "smoke": ForgettingScale("llama-16x1", 40, (4, 12), 32, 2, (1e-2,), 32),
    "laptop": ForgettingScale("llama-48x2", 800, (10, 25, 50, 100, 200), 256, 4, (2.5e-4, 5e-4, 1e-3, 2e-3)),
    "gpu": ForgettingScale("llama-10m", 8000, (25, 50, 100, 200, 400, 800), 512, 3, (5e-5, 1e-4, 2e-4, 5e-4), 256),
}


def ground(size: Size, corpus: Corpus, task: Corpus, folder: Path) -> Ground:
    """The base, trained where it is not there yet, and the losses of both texts on it."""
    scale = SCALES[size]
    model = {"preset": scale.preset, "tokenizer": "ascii", "context": scale.context}
    (rung,) = TrainedLadder.parse({"model": model, "corpus": corpus, "steps": scale.pretraining, "batch": 16}).rungs(0, folder / "bases")
    base = load(rung.train(), device="cuda" if size == "gpu" else None)
    finetune = Finetune.parse({"data": task, "lr": 1e-3, "steps": scale.points[-1], "length": scale.context})
    tuning, judging = halves(base, NextToken(data=task), NextToken(data=corpus), scale.samples)
    return Ground(base, str(rung.folder / rung.identity), base.weights(), finetune, tuning, judging, folder / "forgetting")


@dataclass(frozen=True)
class Arm:
    """What became of one arm's settings on the half that chooses: those that did not diverge."""

    trials: list[TuningTrial]
    paths: list[TunedPath]

    def learning(self) -> TuningTrial:
        """The setting that comes to the lowest target loss."""
        return self.trials[min(range(len(self.paths)), key=lambda number: self.paths[number].losses[-1])]

    def keeping(self, level: float) -> TuningTrial:
        """The setting that has forgotten least at that target loss."""
        return self.trials[ranked(self.paths, 1.0, level)[0]]


def arm(ground: Ground, size: Size, settings: Sequence[Form]) -> Arm:
    """Every setting on the half that chooses. Raises PliantError where all of them diverge."""
    trials, paths = list[TuningTrial](), list[TunedPath]()
    for rate, methods in settings:
        trial = TuningTrial(ground, rate, tuple(METHODS.parse(method) for method in methods), 0, ground.tuning)
        try:
            paths.append(trial.path(SCALES[size].points, lambda _: None))
        except Diverged:
            continue
        trials.append(trial)
    if not trials:
        raise PliantError(f"every setting diverged: {settings}")
    return Arm(trials, paths)


def fresh(trial: TuningTrial, size: Size) -> list[TunedPath]:
    """The setting on seeds of their own, read on the half that judges."""
    scale = SCALES[size]
    runs = [again(trial, FIRST_FRESH_SEED + seed, trial.ground.judging) for seed in range(scale.seeds)]
    return [run.path(scale.points, lambda _: None) for run in runs]


def level(ground: Ground, arms: Sequence[Arm], share: float = 0.8) -> float:
    """The target loss at which to compare: where the arm that learns least has made `share` of its way."""
    base = float(ground.tuning.target.estimate().value)
    return level_of(base, max(min(path.least for path in one.paths) for one in arms), share)


def forgets_more(ground: Ground, one: Sequence[TunedPath], other: Sequence[TunedPath], wanted: float) -> Effect:
    """How much more `one` has forgotten than `other`, nats/token, where both pass the wanted target loss, or the lowest all come to."""
    base = ground.judging.target.estimate().value - ground.tuning.target.estimate().value
    there = max(wanted + base, *(path.least for path in (*one, *other)))
    passings = [[found for path in paths if (found := path.passing(there)) is not None] for paths in (other, one)]
    return difference(passings[0], passings[1], ground.judging, 0.9)


def ends(paths: Sequence[TunedPath]) -> list[float]:
    """The target loss at the end of each seed's run."""
    return [float(path.losses[-1]) for path in paths]


def setting(trial: TuningTrial) -> dict[str, Any]:
    """As plain JSON values."""
    return {"lr": trial.lr, "methods": [method.canonical() for method in trial.methods]}


def at(effect: Effect, digits: int = 3) -> str:
    """`+0.012 [-0.003, +0.027]`."""
    return f"{effect.value:+.{digits}f} [{effect.low:+.{digits}f}, {effect.high:+.{digits}f}]"
