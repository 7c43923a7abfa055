"""Arms that are tuned alike and compared seed by seed.

Idea: each arm's settings are tried on seeds of their own and read on validation data; the best one is then run on fresh seeds, and what is
read there on test data is compared seed by seed. Every run is remembered by all it depends on, so that what was done is not done again.
What goes wrong: a setting at the edge of its grid may not be the best one; figures say so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from pliant.files import write_atomic
from pliant.findings.finding import Size
from pliant.measures import Accuracy
from pliant.methods import METHODS, Method
from pliant.objectives import Objective
from pliant.spec import digest
from pliant.spec.yaml import read_json
from pliant.statistics import Array, Estimate, estimate
from pliant.train import Diverged, Recipe, TrainingLog, train
from pliant.train.new_model import NewModel

if TYPE_CHECKING:
    from pliant.data.images import Images
    from pliant.data.labelled_texts import LabelledTexts
    from pliant.models import Model

Setting = Mapping[str, Any]
"""What a run is told, as plain JSON values: learning rate, methods, steps ..."""

Run = Callable[[Setting, int], dict[str, float]]
"""From a setting and a seed to what was read: `valid`, by which settings are chosen, and what the verdict is about."""

FIRST_FRESH_SEED = 100
"""Seeds below it choose settings."""


def remembered(folder: Path, told: Mapping[str, Any], run: Callable[[], dict[str, float]]) -> dict[str, float]:
    """What a run so described gives: read in `folder` where it was made before."""
    path = folder / f"{digest(json.dumps(told, sort_keys=True))}.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps({"run": told, "read": run()}, indent=1))
    return read_json(path)["read"]


def new(form: Mapping[str, Any], size: Size, seed: int, objective: Objective | None = None) -> Model:
    """A network with fresh weights and the head that the objective needs, where the size has it."""
    model = NewModel.parse(form).build(seed, objective.needs() if objective is not None else None)
    model.network.to("cuda" if size == "gpu" else "cpu")  # pyright: ignore[reportArgumentType]
    return model


def fit(model: Model, objective: Objective, setting: Setting, seed: int, **recipe: Any) -> TrainingLog:
    """Train it as the setting says (methods in any form), and the recipe besides. Raises as `pliant.train.train` does."""
    methods = [method if isinstance(method, Method) else METHODS.parse(method) for method in setting.get("methods", ())]
    fields = {**recipe, **{name: value for name, value in setting.items() if name != "methods"}}
    return train(model, objective, Recipe.parse(fields), seed=seed, methods=methods, quiet=True)


def classified(model: Model, data: Images | LabelledTexts) -> list[float]:
    """Accuracy, and negative log-likelihood, on all of the data."""
    readings = Accuracy.parse({"data": data, "part": "all", "per_class": False}).readings(model)
    return [reading.estimate().value for reading in readings[:2]]


@dataclass(frozen=True)
class TunedSetting:
    """An arm at its best setting, on fresh seeds."""

    setting: Setting
    edges: tuple[str, ...]
    """What of it is the smallest or largest of the values that were tried."""
    read: dict[str, Array]
    """(seeds,) of each thing that was read."""

    def mean(self, what: str) -> float:
        """Over seeds."""
        return float(self.read[what].mean())

    def above(self, other: TunedSetting, what: str) -> Estimate:
        """How much higher it reads than another arm on the same seeds, with a 90% interval over them."""
        return over_seeds(self.read[what] - other.read[what])

    def figures(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "setting": dict(self.setting),
            "at the edge of its grid": list(self.edges),
            **{what: values.tolist() for what, values in self.read.items()},
        }


def tuned(run: Run, settings: Sequence[Setting], seeds: int, tuning_seeds: int = 1) -> TunedSetting:
    """The setting whose `valid` is highest on average over the tuning seeds, run on fresh ones. A setting that diverges is out.

    Raises Diverged where all of them do, and where the best one does on a fresh seed.
    """
    worth = [_worth(run, setting, tuning_seeds) for setting in settings] if len(settings) > 1 else [0.0]
    best = int(np.argmax(worth))
    rows = [run(settings[best], FIRST_FRESH_SEED + seed) for seed in range(seeds)]
    read = {what: np.array([row[what] for row in rows]) for what in rows[0]}
    return TunedSetting(settings[best], _edges(settings[best], settings), read)


def _edges(best: Setting, settings: Sequence[Setting]) -> tuple[str, ...]:
    """The numbers of the best setting beyond which nothing was tried, where anything else was."""
    tried = [_numbers(setting) for setting in settings]
    found: list[str] = []
    for name, value in _numbers(best).items():
        values = {numbers[name] for numbers in tried if name in numbers}
        if len(values) > 1 and value in (min(values), max(values)):
            found.append(name)
    return tuple(found)


def _numbers(value: Any, name: str = "") -> dict[str, float]:
    """Every number in plain JSON values, by where it stands."""
    if isinstance(value, (list, tuple)):
        value = dict(enumerate(cast("list[Any]", value)))
    if isinstance(value, Mapping):
        parts = cast("Mapping[Any, Any]", value).items()
        return {place: number for key, part in parts for place, number in _numbers(part, f"{name}.{key}".strip(".")).items()}
    return {name: float(value)} if isinstance(value, (int, float)) else {}


def _worth(run: Run, setting: Setting, seeds: int) -> float:
    try:
        return float(np.mean([run(setting, seed)["valid"] for seed in range(seeds)]))
    except Diverged:
        return float("-inf")


def over_seeds(values: Array) -> Estimate:
    """The mean of one value a seed, with a 90% interval of Student's t; no interval of a single seed."""
    return estimate(values, np.ones(len(values)))


def told(found: Estimate, digits: int = 3) -> str:
    """`+0.012 [-0.003, +0.027]`."""
    return f"{found.value:+.{digits}f} [{found.low:+.{digits}f}, {found.high:+.{digits}f}]"
