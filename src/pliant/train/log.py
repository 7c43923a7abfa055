"""What a training run leaves behind beside its weights: its losses, its learning rates, its speed, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, nan
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pliant.errors import PliantError
from pliant.numbers import Count
from pliant.spec import Spec

if TYPE_CHECKING:
    from torch import Tensor

POINTS = 1000
"""Largest number of losses a log keeps."""

ADVICE = "lower the learning rate"
"""To whoever sees a run diverge."""


class Diverged(PliantError):
    """A run whose loss stopped being a number, or left the range in which it says anything."""

    def __init__(self, message: str, step: int = 0, loss: float = nan, lr: float = nan) -> None:
        super().__init__(message)
        self.step, self.loss, self.lr = step, loss, lr

    def within(self, where: str) -> Diverged:
        """The same error, with the place it was found put in front."""
        return Diverged(f"{where}: {self}", self.step, self.loss, self.lr)


class TrainingLog(Spec):
    """A finished run. Losses are those of the training batches, each measured before the step it causes."""

    steps: int = Field(description="Optimizer steps made")
    tokens: Count = Field(description="Training tokens seen, repeats included")
    unique_tokens: Count = Field(description="Most different training tokens that can have been seen: no more than the data holds")
    peak_lr: float = Field(description="Largest learning rate")
    final_lr: float = Field(description="Learning rate reached at the end")
    schedule: str = Field(description="Shape of the learning rate over the run")
    losses: list[float] = Field(description="Training loss in the unit of the objective, each the mean over `steps_a_loss` steps in a row")
    steps_a_loss: int = Field(description="Steps behind each of `losses` (the last may have fewer)")
    seconds: float = Field(description="Wall time, over all the processes that worked on the run")
    tokens_per_second: float = Field(description="Tokens over seconds")
    compiled: bool = Field(default=False, description="Whether the network was compiled")
    facts: dict[str, Any] = Field(default_factory=dict, description="What methods made true of the checkpoint")

    def checkpoint_facts(self) -> dict[str, Any]:
        """The fields of the resulting `Checkpoint` that this run knows."""
        names = ("tokens", "unique_tokens", "peak_lr", "final_lr", "schedule")
        return {name: getattr(self, name) for name in names} | self.facts


def thin(losses: Sequence[float], points: int = POINTS) -> tuple[list[float], int]:
    """At most `points` means over equally many steps in a row (the last over what is left), and how many steps that is."""
    every = max(1, -(-len(losses) // points))
    bins = [losses[start : start + every] for start in range(0, len(losses), every)]
    return [float(f"{sum(values) / len(values):.6g}") for values in bins], every


class LossWatch:
    """The losses of a run, step by step, which stops it when they show that it has diverged.

    A run has diverged when a loss is not a finite number, or when the mean of the last `WINDOW` losses is `MARGIN` nats
    above both where the run started and `chance`, what knowing nothing loses. Losses on a device that runs
    ahead of Python are fetched together, every `FETCH` steps, so that it need not wait. `advice` is what its messages end with.
    """

    WINDOW = 20
    MARGIN = 1.0
    FETCH = 16

    def __init__(self, chance: float, losses: Sequence[float] = (), advice: str = ADVICE) -> None:
        self.chance, self.advice = chance, advice
        self.losses = list(losses)
        self._waiting: list[tuple[Tensor, float]] = []

    def add(self, loss: Tensor, lr: float) -> None:
        """Take in the next step's loss, made with learning rate `lr`. Raises Diverged."""
        self._waiting.append((loss, lr))
        if loss.device.type == "cpu" or len(self._waiting) == self.FETCH:
            self.fetch()

    def fetch(self) -> list[float]:
        """All losses so far, none waiting. Raises Diverged."""
        waiting, self._waiting = self._waiting, []
        for loss, lr in waiting:
            self._judge(float(loss), lr)
        return self.losses

    def _judge(self, loss: float, lr: float) -> None:
        step = len(self.losses)
        self.losses.append(loss)
        recent = self.losses[-self.WINDOW :]
        limit = max(self.chance, self.losses[0]) + self.MARGIN
        if not isfinite(loss) and step == 0:
            raise Diverged(f"the loss is {loss} before the first step; the weights it starts from are damaged", step, loss, lr)
        if not isfinite(loss):
            raise Diverged(f"the loss is {loss} at step {step} (learning rate {lr:.3g}); {self.advice}", step, loss, lr)
        if len(recent) == self.WINDOW and sum(recent) > self.WINDOW * limit:
            told = f"the loss is {loss:.3g} at step {step} (learning rate {lr:.3g}), where knowing nothing has {self.chance:.3g}"
            raise Diverged(f"{told}; {self.advice}", step, loss, lr)
