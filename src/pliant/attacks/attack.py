"""What every attack is: an adversary that alters the inputs of a batch, within a budget, to raise what the batch costs.

An attack is a frozen description: its fields are its budget, so that whatever reports a result under attack reports the budget with
it. It answers with another batch for the same objective, so that training against it (`Method.loss`: `forward(perturbed)`) and
measuring under it are the same call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from pliant.spec import Spec

if TYPE_CHECKING:
    from torch import nn

    from pliant.models import Model
    from pliant.objectives import Batch, Losses


class Costing(Protocol):
    """What an attack needs of an objective: what each row of a batch costs."""

    def losses(self, network: nn.Module, batch: Batch) -> Losses:
        """One forward pass, and what each row of it cost."""
        ...


@dataclass(frozen=True)
class Checks:
    """Other attacks that tell whether an attack is honest about a model, or whether its gradients are masked."""

    weaker: Mapping[str, Attack] = field(default_factory=dict[str, "Attack"])
    """What must not break an example that the attack leaves whole."""
    stronger: Mapping[str, Attack] = field(default_factory=dict[str, "Attack"])
    """More of the same, which must not leave more whole, and finds hardly more where the attack has converged."""
    unbounded: Attack | None = None
    """The same with a budget that allows anything, which must leave next to nothing whole."""


class Attack(Spec):
    """Base of all attacks. Abstract: a subclass writes `perturb`."""

    def perturb(self, model: Model, batch: Batch, objective: Costing, seed: int = 0) -> Batch:
        """The batch with other inputs, on the model's device: a pure function of its arguments.

        The model is left as it was, gradients of its parameters included. Raises PliantError for inputs that it cannot alter.
        """
        raise NotImplementedError

    def checks(self) -> Checks:
        """What an evaluation with this attack is to be held against."""
        return Checks()

    def aim(self) -> str:
        """The class that all rows are to be taken for; empty where any wrong answer will do."""
        return ""
