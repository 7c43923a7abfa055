"""Projected gradient descent: inputs move, step by step, in the direction that costs most, and never out of a ball around them.

Idea: x <- project(x + step * direction of the gradient of the loss), from a random point of the ball. With norm `linf` the ball is a box
around each number and the direction its sign; with `l2` it is a ball around each image, or around each token's embedding. On images
`epsilon` is a fraction of a pixel's range (8/255 = 0.031), and the result is rounded to eight bits, still inside; on text it is in root
mean squares of the embedding matrix, so that one `epsilon` means as much to one checkpoint as to another. With a `target` all are to be
taken for that class. Of several `restarts` each row keeps the one that came furthest.
When to use it: the standard test of robustness; inside training, as adversarial training; on text, to ask how much a model leans on exact
embeddings, as a change of inputs rather than of weights.
Cost: `steps` forward and backward passes over the batch, times restarts. Only the inputs get gradients.
What goes wrong: where the loss does not rise with `steps`, gradients are masked, and the model is not robust: the measure `robustness`
looks. Embeddings move to where no token is, so nobody could type the result. The bounds hold up to rounding to the inputs' number type.
Source: arXiv 1706.06083; on embeddings of text arXiv 1605.07725; the margin, arXiv 1608.04644.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from pliant.attacks.ascent import Climbed, ascend, height, margins
from pliant.attacks.attack import Attack, Checks, Costing
from pliant.attacks.ball import Ball
from pliant.attacks.random_signs import RandomSigns
from pliant.attacks.spaces import Norm, space_of
from pliant.models.modules import evaluating

if TYPE_CHECKING:
    from torch import Tensor

    from pliant.models import Model
    from pliant.objectives import Batch

STRIDE = 2.5
"""Default steps are so many times `epsilon` long in all: enough to cross the ball and to come back."""
UNBOUNDED = {"linf": 0.5, "l2": 1e4}
"""A budget that allows any picture: all of it grey, and further."""


class Pgd(Attack):
    """Move pixels or embeddings inside a ball, step by step, to where the loss is highest."""

    epsilon: float = Field(0.1, ge=0, description="Radius of the ball: of pixels' range, or root mean squares of the embedding matrix")
    steps: int = Field(5, ge=0, le=10000, description="Gradient steps; without any, a random point of the ball")
    step_size: float | None = Field(
        None, gt=0, description="Length of a step, in the unit of `epsilon`; by default 2.5 `epsilon` / `steps`"
    )
    norm: Norm = Field("linf", description="The ball: of every number by itself, or of every image or token's embedding")
    restarts: int = Field(1, ge=1, le=1000, description="Random starts; each row keeps the one that came furthest")
    target: str | None = Field(None, description="The class that all are to be taken for; by default any wrong one will do")
    climbs: Climbed = Field("loss", description="loss: of the objective; margin: the likeliest wrong class over the right one")

    def perturb(self, model: Model, batch: Batch, objective: Costing, seed: int = 0) -> Batch:
        """The batch with other pixels, or with `inputs_embeds` in the place of `input_ids`.

        A row's start depends on the seed and its example alone. Raises PliantError for a batch that has neither pixels nor tokens, an
        `epsilon` that they do not know, and a gradient that is not finite.
        """
        import torch

        batch = batch.to(model.device)
        with torch.no_grad():
            space = space_of(model, batch)
        radius = space.radius(self.epsilon, self.norm)
        ball = Ball(self.norm, radius)
        step = radius * (self.step_size / self.epsilon if self.step_size and self.epsilon else STRIDE / max(1, self.steps))
        high = height(model, objective, self.climbs, self.target)
        best: Tensor | None = None
        furthest: Tensor | None = None
        for restart in range(self.restarts):
            names = [f"{seed} {number}" + (f" {restart}" if restart else "") for number in batch.numbers.tolist()]
            start = space.inside(ball.random(space.origin, names))
            move = space.settled(ascend(model, space, ball, high, start, self.steps, step), radius, self.norm)
            if self.restarts == 1:
                return space.batch(move)
            with evaluating(model.network), torch.no_grad():
                reached = self._reached(model, space.batch(move), objective)
            if best is None or furthest is None:
                best, furthest = move, reached
            else:
                better = reached > furthest
                best, furthest = torch.where(better[:, None, None], move, best), torch.where(better, reached, furthest)
        assert best is not None
        return space.batch(best)

    def _reached(self, model: Model, batch: Batch, objective: Costing) -> Tensor:
        """How far each row has come: by its margin, which says whether it succeeded, where there are classes."""
        if self.target is not None:
            return height(model, objective, "margin", self.target)(batch)
        losses = objective.losses(model.network, batch)
        found = margins(losses.output, batch.targets)
        return losses.totals if found is None else found

    def checks(self) -> Checks:
        """One step and random signs must find less, twice the steps and the margin hardly more, any picture everything."""
        return Checks(
            weaker={
                "one step": self.model_copy(update={"steps": 1, "step_size": self.epsilon or None, "restarts": 1}),
                "random signs": RandomSigns(epsilon=self.epsilon, norm=self.norm),
            },
            stronger={
                "twice the steps": self.model_copy(update={"steps": 2 * self.steps}),
                "the margin": self.model_copy(update={"climbs": "margin" if self.climbs == "loss" else "loss"}),
            },
            unbounded=self.model_copy(
                update={
                    "epsilon": max(UNBOUNDED[self.norm], self.epsilon),
                    "steps": max(self.steps, 20),
                    "target": None,
                    "step_size": None,
                    "restarts": 1,
                }
            ),
        )

    def aim(self) -> str:
        """Its target."""
        return self.target or ""
