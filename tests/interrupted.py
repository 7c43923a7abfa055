"""Runs that are killed and go on: the method that ends one, and the check that the other half makes no difference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pliant.methods import Method
from pliant.models import Model
from pliant.objectives import Objective
from pliant.train import Recipe, train


class Interrupt(Method):
    """Raises after a step."""

    at: int = 99

    def after_step(self, run: Any, state: Any) -> None:
        if run.step == self.at:
            raise KeyboardInterrupt

    def canonical(self) -> dict[str, Any]:
        return {"kind": self.kind}  # the same run, whether it will be interrupted or not


def goes_on(
    make: Callable[[], Model], objective: Objective, recipe: Recipe, folder: Path, at: int = 6, lost: Callable[[], None] = lambda: None
) -> list[float]:
    """The losses of a run, having checked that the same one killed after step `at` goes on in `folder` bit for bit.

    `lost` is called in between: what else a kill may take with it.
    """

    def trained(at: int, folder: Path | None) -> tuple[str, list[float]]:
        model = make()
        log = train(model, objective, recipe, methods=[Interrupt(at=at)], folder=folder, save_every=0, quiet=True)
        return model.weights(), log.losses

    whole = trained(99, None)
    with pytest.raises(KeyboardInterrupt):
        trained(at, folder)
    lost()
    assert trained(99, folder) == whole
    return whole[1]
