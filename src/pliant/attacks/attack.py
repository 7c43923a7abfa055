"""What every attack is: an adversary that alters the inputs of a batch, within a budget, to raise what the batch costs.

An attack is a frozen description: its fields are its budget, so that whatever reports a result under attack reports the budget with
it. It answers with another batch for the same objective, so that training against it (`Method.loss`: `forward(perturbed)`) and
measuring under it are the same call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pliant.spec import Spec

if TYPE_CHECKING:
    from pliant.models import Model
    from pliant.objectives import Batch, Objective


class Attack(Spec):
    """Base of all attacks. Abstract: a subclass writes `perturb`."""

    def perturb(self, model: Model, batch: Batch, objective: Objective, seed: int = 0) -> Batch:
        """The batch with other inputs, on the model's device: a pure function of its arguments.

        The model is left as it was, gradients of its parameters included. Raises PliantError for inputs that it cannot alter.
        """
        raise NotImplementedError
