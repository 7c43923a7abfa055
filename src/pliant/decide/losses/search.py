"""A search over losses, learning rate and weight decay: short runs on the data at hand, judged on data of another kind.

Idea: a trial draws a weight for each loss (log-uniform from 1e-4 to 10; cross-entropy counts 1), a learning rate (log-uniform, a factor
of 100 to either side), a weight decay (uniform, 0 to 1) and a seed, trains a few steps from the start, and is worth what it reads on
validation data that it never trains on. Optuna's tree-structured Parzen estimator proposes them.
Every trial is a file, written when it is done, and each proposal has random numbers of its own, so that a killed search goes on as if
nothing had happened: what was being trained is begun anew, nothing else is trained twice. More trials continue the same search.
Cost: trials x (steps of a trial + one reading).
What goes wrong: warm-up that is as long as a trial hides the rate (refused); a few steps favour high rates. Validation labels are
supervision: whatever it is compared with must have them, too.
Source: arXiv 2401.10220; the schedule is made of the trial's own rate, which the released code overwrites.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pliant.changes.restore import restored
from pliant.errors import PliantError
from pliant.files import write_atomic
from pliant.methods import AutoFt, Method
from pliant.spec import content_form, digest, nearest
from pliant.spec.yaml import read_json
from pliant.train import Diverged

if TYPE_CHECKING:
    from pliant.changes import Finetune
    from pliant.decide.losses.validation import Validation
    from pliant.measures.measure import Better
    from pliant.models import Model

MEANING = 1
"""Raised when the same description comes to mean another search."""
WEIGHTS, RATES, DECAYS, SEEDS = (1e-4, 10.0), (1e-2, 1e2), (0.0, 1.0), (0, 10)
"""Of a loss; times the middle rate; of weight decay; of a trial."""
WARMUP = 0.1
"""Most of a trial's steps in which the rate may rise."""
WORST = -1e30
"""What a trial that diverged is worth to the sampler."""
USUAL = ("dcm", "entropy", "hinge", "l1_zero", "l2_zero", "l1_init", "l2_init")
"""Of any objective that predicts a distribution."""
CLASSIFIED = "flyp"
"""Of classifiers besides."""


@dataclass(frozen=True)
class LossSettings:
    """What a trial trains with."""

    lr: float
    weight_decay: float
    seed: int
    losses: dict[str, float] = field(default_factory=dict[str, float])
    """Weights beside the cross-entropy, which counts 1."""

    @classmethod
    def of(cls, drawn: dict[str, Any]) -> LossSettings:
        """What was drawn, to four digits, so that a command can repeat it."""
        told = {name: float(f"{value:.4g}") for name, value in drawn.items()}
        return cls(told.pop("lr"), told.pop("weight_decay"), int(told.pop("seed")), told)

    def finetune(self, template: Finetune, **changed: Any) -> Finetune:
        """How it trains."""
        methods: tuple[Method, ...] = (*template.methods, *((AutoFt(**self.losses),) if self.losses else ()))
        return template.model_copy(update={"lr": self.lr, "weight_decay": self.weight_decay, "methods": methods, **changed})


@dataclass(frozen=True)
class LossTrial:
    """A trial that is done."""

    drawn: dict[str, Any]
    value: float | None
    """What it read on validation data; None where it diverged."""
    told: str = ""

    @property
    def settings(self) -> LossSettings:
        """What it trained with."""
        return LossSettings.of(self.drawn)


@dataclass(frozen=True)
class LossSearch:
    """What is searched, from where, and by what it is judged."""

    model: Model
    weights: str
    """Names the base's numbers."""
    finetune: Finetune
    """How trials train; its `lr` is the middle of those tried."""
    steps: int
    """Of a trial."""
    validation: Validation
    better: Better
    """Which of its values are."""
    losses: Sequence[str]
    folder: Path
    seed: int = 0

    def check(self) -> None:
        """Raises PliantError for losses that there are not, a warm-up that trials are too short for, and where Optuna is missing."""
        check_optuna()
        if unknown := next((name for name in self.losses if name not in AutoFt.model_fields), None):
            raise PliantError(f"--losses: there is no loss {unknown!r}; {nearest(unknown, AutoFt.model_fields)}")
        if (warmup := self.finetune.recipe_of(self.steps).warmup_steps(self.steps)) > WARMUP * self.steps:
            raise PliantError(
                f"a warm-up of {warmup} steps is more than a tenth of a trial's {self.steps}, which would hide the rate it is tried at; "
                "leave warmup out, or give more --trial-steps"
            )

    @property
    def place(self) -> Path:
        """Its folder, named by everything that a trial depends on."""
        named = {"data", "objective", "part", "steps", "epochs", "weight_decay", "methods"}
        how = {name: value for name, value in self.finetune.canonical().items() if name not in named} | {"length": self.finetune.longest}
        content = [content_form(part) for part in (self.finetune.learned, *self.finetune.methods, *self.validation.measures)]
        told = [MEANING, self.weights, how, content, self.validation.metric, self.steps, sorted(self.losses), self.seed]
        return self.folder / f"search-{digest(json.dumps(told, sort_keys=True))}"

    def run(self, trials: int, advance: Callable[[float], None]) -> list[LossTrial]:
        """So many trials, in order; those done before are read. Raises PliantError where none can be trained, or all diverge."""
        self.check()
        sampler = Sampler(self.losses, self.finetune.lr, self.seed)
        found: list[LossTrial] = []
        for number in range(trials):
            file = self.place / f"trial{number}.json"
            stored = _stored(file, sampler.space)
            made = stored or self.trial(sampler.draw(number))
            if stored is None:
                self.place.mkdir(parents=True, exist_ok=True)
                write_atomic(file, json.dumps(asdict(made), indent=1))
            sampler.add(made.drawn, None if made.value is None else self.worth(made.value))
            found.append(made)
            advance(1.0)
        if all(trial.value is None for trial in found):
            raise PliantError(f"all {trials} trials failed, the first with: {found[0].told}; give a lower --lr")
        return found

    def best(self, trials: Sequence[LossTrial]) -> LossTrial:
        """The best one; of equal ones the last."""
        done = [(number, trial) for number, trial in enumerate(trials) if trial.value is not None]
        return max(done, key=lambda pair: (self.worth(pair[1].value or 0.0), pair[0]))[1]

    def trial(self, drawn: dict[str, Any]) -> LossTrial:
        """Train from the start with these settings, and read. Raises PliantError for what no settings would change."""
        settings = LossSettings.of(drawn)
        with restored(self.model):
            try:
                settings.finetune(self.finetune, steps=self.steps, epochs=None).tune(self.model, settings.seed, quiet=True)
            except Diverged as error:
                return LossTrial(drawn, None, str(error))
            try:
                return LossTrial(drawn, self.validation.read(self.model)[0])
            except PliantError as error:  # before training it was read without one
                return LossTrial(drawn, None, str(error))

    def worth(self, value: float) -> float:
        """Higher is better."""
        return value if self.better == "higher" else -value


def usual(model: Model) -> tuple[str, ...]:
    """All the losses that there are for a network with this head."""
    return (*USUAL, CLASSIFIED) if model.task.labelled else USUAL


def check_optuna() -> None:
    """Raises PliantError where it is not installed."""
    if importlib.util.find_spec("optuna") is None:
        raise PliantError("a search over losses needs optuna: pip install 'pliant[search]'")


class Sampler:
    """Optuna's, asked anew for each trial with random numbers of its own."""

    def __init__(self, losses: Sequence[str], rate: float, seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        weight = optuna.distributions.FloatDistribution(*WEIGHTS, log=True)
        self.space: dict[str, Any] = dict.fromkeys(sorted(losses), weight)
        self.space["lr"] = optuna.distributions.FloatDistribution(RATES[0] * rate, RATES[1] * rate, log=True)
        self.space["weight_decay"] = optuna.distributions.FloatDistribution(*DECAYS)
        self.space["seed"] = optuna.distributions.IntDistribution(*SEEDS)
        self.study, self.seed, self.count = optuna.create_study(direction="maximize"), seed, 0

    def draw(self, number: int) -> dict[str, Any]:
        """The settings of a trial, which depend on those before it and its number alone."""
        import warnings

        import optuna

        own = int(digest(f"{self.seed} {number}"), 16) % 2**32
        with warnings.catch_warnings(action="ignore"):  # that it is experimental
            self.study.sampler = optuna.samplers.TPESampler(multivariate=True, seed=own)
        asked = self.study.ask(self.space)
        self.study.tell(asked, state=optuna.trial.TrialState.FAIL)  # what it was worth is added by `add`, as for trials read from files
        return dict(asked.params)

    def add(self, drawn: dict[str, Any], worth: float | None) -> None:
        """What a trial was worth; None where it diverged. Of equal ones later trials win, by a little."""
        import optuna

        self.count += 1
        value = WORST if worth is None else worth + 1e-10 * self.count
        self.study.add_trial(optuna.trial.create_trial(params=drawn, distributions=self.space, value=value))


def _stored(file: Path, space: dict[str, Any]) -> LossTrial | None:
    """A trial that was done before; None where there is none, or what is there is damaged."""
    try:
        told: Any = read_json(file) if file.is_file() else None
    except PliantError:
        return None
    if not isinstance(told, dict) or set(told) != {"drawn", "value", "told"} or not isinstance(told["drawn"], dict):
        return None
    drawn, value = told["drawn"], told["value"]
    numbers = set(drawn) == set(space) and all(
        isinstance(one, (int, float)) and space[name]._contains(float(one)) for name, one in drawn.items()
    )
    whole = value is None or (isinstance(value, float) and isfinite(value))
    return LossTrial(drawn, value, str(told["told"])) if numbers and whole else None
