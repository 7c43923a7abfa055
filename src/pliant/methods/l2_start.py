"""L2 to the start: weights are pulled back to where training began, or to zero, as strongly as they are far away.

Idea: the loss + strength / 2 x |weights - start|^2 (L2-SP); `to: zero` is the same penalty towards zero, and, unlike `weight_decay`, it
goes through the optimizer's moments.
When to use it: to forget less without old data; it is the baseline that averaging (`sfa`) is to be compared with.
Cost: one copy of the trained weights, one pass over them a step.
What goes wrong: Adam divides by the size of gradients, so strengths do not carry from SGD to Adam, nor from one rate to another: sweep
them. A head that is fresh is held at random numbers. With LoRA there is no start of matrices to go back to: refused.
Source: arXiv 1802.01483 (L2-SP).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pliant.methods.averaging import keep_start
from pliant.methods.method import Compute, Method, MethodState, Run

if TYPE_CHECKING:
    from torch import Tensor

    from pliant.objectives import Batch

NO_FACTORS = "the penalty would be on LoRA's factors, and not on the change of the weights; train all weights"


class L2Start(Method):
    """Pull weights back to where they started."""

    follows = frozenset({"trained"})
    refuses = (("factors", NO_FACTORS),)
    strength_field = "strength"
    steep = ("strength",)
    strengths = (1e-3, 1e-2, 0.1)
    strength: float = Field(ge=0, description="What half the squared distance counts, beside the loss")
    to: Literal["start", "zero"] = Field("start", description="start: where training begins; zero: as weight decay does")

    def prepare(self, run: Run, state: MethodState) -> None:
        """Copy the start."""
        if self.to == "start":
            keep_start(run, state)

    def gradients(self, run: Run, state: MethodState, compute: Compute, batch: Batch) -> Tensor:
        """Add the penalty's gradient, strength x (weights - start); the log keeps the loss without it."""
        loss = compute(batch)
        for name, p in run.parameters().items():
            away = p.detach() - state.tensors[name] if self.to == "start" else p.detach()
            p.grad = self.strength * away if p.grad is None else p.grad.add_(away, alpha=self.strength)
        return loss
