"""The basic iterative method: sign steps from the image itself, each number kept within `epsilon` of where it was.

Idea: x <- clip(x + step * sign of the gradient), from x itself: projected gradient descent without its random start. With `momentum` the
gradients of earlier steps are added up, each divided by its mean size, which carries over to other models better.
When to use it: attacks that are published with it; to be the same at every seed. For an evaluation prefer `pgd` with restarts.
Cost: `steps` forward and backward passes over the batch.
What goes wrong: one start finds less than several. Where the loss is flat at the image itself, it goes nowhere: masked gradients.
Source: arXiv 1607.02533; momentum, arXiv 1710.06081.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from pliant.attacks.ascent import ascend, height
from pliant.attacks.attack import Attack, Checks, Costing
from pliant.attacks.ball import Ball
from pliant.attacks.pgd import Pgd
from pliant.attacks.spaces import space_of

if TYPE_CHECKING:
    from pliant.models import Model
    from pliant.objectives import Batch


class Bim(Attack):
    """Sign steps from the inputs themselves."""

    epsilon: float = Field(0.03, ge=0, description="How far each number may move: of pixels' range, or root mean squares of embeddings")
    steps: int = Field(10, ge=1, le=10000, description="Gradient steps")
    step_size: float | None = Field(None, gt=0, description="Length of a step, in the unit of `epsilon`; by default `epsilon` / `steps`")
    momentum: float = Field(0.0, ge=0, description="What is left of earlier gradients at each step")
    target: str | None = Field(None, description="The class that all are to be taken for; by default any wrong one will do")

    def perturb(self, model: Model, batch: Batch, objective: Costing, seed: int = 0) -> Batch:
        """The same for every seed. Raises PliantError as `pgd` does."""
        import torch

        batch = batch.to(model.device)
        with torch.no_grad():
            space = space_of(model, batch)
        radius = space.radius(self.epsilon, "linf")
        step = radius * (self.step_size / self.epsilon if self.step_size and self.epsilon else 1 / self.steps)
        start = torch.zeros_like(space.origin, dtype=torch.promote_types(space.origin.dtype, torch.float32))
        high = height(model, objective, "loss", self.target)
        move = ascend(model, space, Ball("linf", radius), high, start, self.steps, step, self.momentum)
        return space.batch(space.settled(move, radius, "linf"))

    def checks(self) -> Checks:
        """Those of `pgd` with its numbers."""
        return Pgd.parse({name: getattr(self, name) for name in ("epsilon", "steps", "step_size", "target")}).checks()

    def aim(self) -> str:
        """Its target."""
        return self.target or ""
