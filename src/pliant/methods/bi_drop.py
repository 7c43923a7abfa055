"""Bi-Drop: only weights move whose gradients agree under dropout, and are large for the weight's size.

Idea: K passes over the same rows, each under its own dropout: mean mu and spread s = sqrt(sum (g_k - mu)^2) of their gradients. Of each
matrix the fraction `keep` with the largest mu^2 / (|weight| s) moves, by mu; the other entries are put back after the step, decay and
momentum included. Vectors (biases, gains) all move.
When to use it: tiny fine-tuning sets, in its authors' hands. In our runs it was no better than twice the steps.
Cost: K passes a step and the masks' own work, measured 2.1 times a step for K = 2 (6 blocks of width 64, one thread); two copies of
the weights. Compare it with as much compute.
What goes wrong: masked entries need a learning rate about three times as high: tune both arms. A network that drops nothing makes K equal
passes: refused, set `dropout`. Adam's moments of masked entries see a gradient of zero.
Source: arXiv 2305.14760; the selection formula as it is known of the method, there being no released code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pliant.errors import PliantError
from pliant.methods.method import Compute, Method, MethodState, Run
from pliant.models.modules import dropouts

if TYPE_CHECKING:
    from torch import Tensor

    from pliant.objectives import Batch

TINY = 1e-12


class BiDrop(Method):
    """Move only what several dropout passes agree on."""

    holds = frozenset({"gradients", "updates"})
    follows = frozenset({"trained"})
    strength_field = "keep"
    strengths = (0.7, 0.5, 0.3)
    only_named = True
    passes: int = Field(2, ge=2, description="Passes over the same rows, each under its own dropout")
    keep: float = Field(0.5, gt=0, le=1, description="Fraction of each matrix that moves; 1 moves all by the mean gradient")
    by: Literal["both", "agreement", "scale", "gradient", "random"] = Field(
        "both", description="both; agreement: mu over s; scale: mu over the weight; gradient: mu alone; random: drawn"
    )
    dropout: float | None = Field(None, gt=0, lt=1, description="Set every dropout of the network to this while the run lasts")

    def prepare(self, run: Run, state: MethodState) -> None:
        """Set the dropout. Raises PliantError for a network that drops nothing."""
        for module, name, rate in dropouts(run.network):
            if self.dropout is not None:
                setattr(module, name, self.dropout)
                state.undo.callback(setattr, module, name, rate)
        if not any(rate > 0 for _, _, rate in dropouts(run.network)):
            raise PliantError(
                "bi_drop: the network drops nothing, so all passes are equal; set `dropout: 0.1`, or train for longer instead"
            )

    def gradients(self, run: Run, state: MethodState, compute: Compute, batch: Batch) -> Tensor:
        """The mean of the passes' gradients, zero where they are not to move; the log keeps the mean loss."""
        import torch

        parameters = list(run.parameters().values())
        squares = [torch.zeros_like(p) for p in parameters]
        mean: list[Tensor] = []
        loss = torch.zeros((), device=run.model.device)
        for number in range(1, self.passes + 1):
            loss = loss + compute(batch) / self.passes
            found = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
            mean = mean or found
            for gradient, middle, square in zip(found, mean, squares, strict=True) if number > 1 else ():
                away = gradient.sub_(middle)
                middle.add_(away, alpha=1 / number)
                square.addcmul_(away, away, value=1 - 1 / number)
        masked: list[tuple[Tensor, Tensor, Tensor]] = []
        state.objects["masked"] = masked
        for p, gradient, square in zip(parameters, mean, squares, strict=True):
            p.grad = gradient
            if p.dim() >= 2 and self.keep < 1:
                moved = self.moved(gradient, square.sqrt_(), p.detach())
                gradient.mul_(moved)
                masked.append((p, moved, p.detach().clone()))
        return loss

    def moved(self, mean: Tensor, spread: Tensor, weight: Tensor) -> Tensor:
        """(as `weight`) which entries move: of those with a gradient, the `keep` of all that score highest."""
        import torch

        score = {
            "both": lambda: mean.square() / (TINY + weight.abs() * spread),
            "agreement": lambda: mean.abs() / (TINY + spread),
            "scale": lambda: mean.abs() / (TINY + weight.abs()),
            "gradient": mean.abs,
            "random": lambda: torch.rand(mean.shape).to(mean.device),
        }[self.by]()
        least = _smallest(score.flatten(), mean.numel() - max(1, round(self.keep * mean.numel())))
        return (score >= least) & (mean != 0)

    def after_step(self, run: Run, state: MethodState) -> None:
        """Put back what was not to move."""
        for p, moved, before in state.objects.pop("masked"):
            p.data.copy_(p.data.where(moved, before))


def _smallest(values: Tensor, place: int) -> Tensor | float:
    """The value that would stand there, counted from 0, were they sorted. On the CPU by NumPy, which takes a fraction of the time."""
    import numpy as np
    import torch

    if values.device.type != "cpu" or values.dtype not in (torch.float32, torch.float64):
        return values.kthvalue(place + 1).values
    return float(np.partition(values.numpy(), place)[place])
