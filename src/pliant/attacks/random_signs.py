"""Random signs: every number moves by `epsilon`, up or down as a coin falls. The control of every other attack.

Idea: noise as large as the budget allows, and blind. What it breaks, no attack can be praised for; where it breaks more than an attack
that follows gradients, those gradients are masked.
When to use it: beside each attack; the measure `robustness` does so by itself.
Cost: none.
What goes wrong: on images it is rounded to eight bits and cut at black and white, as attacks are.
Source: the sanity checks of arXiv 1902.06705.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from pliant.attacks.attack import Attack, Costing
from pliant.attacks.ball import Ball, generator_of
from pliant.attacks.spaces import Norm, space_of

if TYPE_CHECKING:
    from pliant.models import Model
    from pliant.objectives import Batch


class RandomSigns(Attack):
    """Move every number by the whole budget, up or down at random."""

    epsilon: float = Field(0.03, ge=0, description="How far: of pixels' range, or root mean squares of the embedding matrix")
    norm: Norm = Field("linf", description="linf: each number by `epsilon`; l2: all of an image or embedding together")

    def perturb(self, model: Model, batch: Batch, objective: Costing, seed: int = 0) -> Batch:
        """A row's signs depend on the seed and its example alone. Raises PliantError for a batch that has neither pixels nor tokens."""
        import torch

        batch = batch.to(model.device)
        with torch.no_grad():
            space = space_of(model, batch)
            radius = space.radius(self.epsilon, self.norm)
            shape, wide = space.origin.shape[1:], torch.promote_types(space.origin.dtype, torch.float32)
            names = [f"signs {seed} {number}" for number in batch.numbers.tolist()]
            signs = torch.stack([torch.randint(0, 2, shape, generator=generator_of(name)) for name in names]).to(space.origin.device, wide)
            move = (2 * signs - 1) * (radius / shape[-1] ** 0.5 if self.norm == "l2" else radius)
            return space.batch(space.settled(space.inside(Ball(self.norm, radius).project(move)), radius, self.norm))
