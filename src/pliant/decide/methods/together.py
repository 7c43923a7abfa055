"""Runs of a search that can share passes are trained side by side, before each is asked for its path: LoRA at several rates and ranks.

What it makes is what the runs would have made themselves, state by state; where they cannot be together, it makes nothing, and they do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pliant.changes.restore import restored
from pliant.decide.methods.trial import TuningTrial
from pliant.errors import PliantError
from pliant.train.factor_stack import NotTogether, SharedArm
from pliant.train.side_by_side import most_together, train_side_by_side, why_alone

if TYPE_CHECKING:
    from pliant.decide.methods.path import Trial

Together = Callable[[Sequence["Trial"], Sequence[int]], None]
"""Trains runs up to each of these points, as far as it can."""


def one_by_one(trials: Sequence[Trial], points: Sequence[int]) -> None:
    """Nothing: every run is trained when it is asked."""


def side_by_side(trials: Sequence[Trial], points: Sequence[int]) -> None:
    """Runs that can share passes, up to the last point, read at each. Errors are left to the runs themselves, which meet them again."""
    groups = dict[str, list[tuple[TuningTrial, SharedArm]]]()
    for trial in trials:
        if isinstance(trial, TuningTrial) and (made := trial.steps_to_go_on_from(points)) is not None:
            arm = trial.shared()
            told = [arm.recipe.canonical() | {"lr": 0}, made, [getattr(method, "modules", "") for method in arm.methods]]
            groups.setdefault(json.dumps(told, sort_keys=True), []).append((trial, arm))
    for told, group in groups.items():
        ground, made = group[0][0].ground, json.loads(told)[1]
        learned, size = ground.finetune.learned, most_together(ground.model, group[0][1].recipe)
        for start in range(0, len(group), size):
            some = group[start : start + size]
            arms, runs = [arm for _, arm in some], [trial for trial, _ in some]
            try:
                if not why_alone(ground.model, learned, arms):
                    left = [point for point in points if point > made]
                    with restored(ground.model):
                        train_side_by_side(ground.model, learned, arms, left, lambda number, point, runs=runs: runs[number].keep(point))
            except (PliantError, NotTogether, RuntimeError, MemoryError):
                continue
