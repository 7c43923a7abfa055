"""Elastic weight consolidation: weights that old data depends on are held where they were, the others move freely.

Idea: the loss + strength / 2 x sum_i F_i (weight_i - start_i)^2. F is the diagonal of the empirical Fisher information of the old data at
the start: squared gradients of each row's loss, summed, over the rows' weights (tokens, or examples), without dropout.
When to use it: a sample of the old data is at hand, and must not be trained on. `old: {answers: {data: old.jsonl}}`, `old: {next_token:
{data: old.txt}}`, `old: {label: {data: old.csv}}`.
Cost: once a forward and backward pass for each of `examples` rows; two copies of the trained weights; one pass over them a step.
What goes wrong: F is tiny where the old loss is low, so strengths of 1e3 to 1e6 are usual: sweep them. A diagonal misses what weights do
together. Old data of another task than the new head's cannot be asked: refused.
Source: arXiv 1612.00796.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from pliant.errors import PliantError
from pliant.methods.averaging import keep_start
from pliant.methods.l2_start import NO_FACTORS
from pliant.methods.method import Compute, Method, MethodState, Run
from pliant.models.heads import fitted
from pliant.models.modules import evaluating
from pliant.objectives import AnyObjective

if TYPE_CHECKING:
    from torch import Tensor

    from pliant.objectives import Batch


class Ewc(Method):
    """Hold back the weights that old data depends on."""

    follows = frozenset({"trained"})
    refuses = (("factors", NO_FACTORS),)
    strength_field = "strength"
    steep = ("strength",)
    strengths = (1e2, 1e4, 1e6)
    old: AnyObjective = Field(description="The old data, and how it was learned: `answers: {data: old.jsonl}`")
    strength: float = Field(ge=0, description="What the weighted half of the squared distance counts, beside the loss")
    examples: int = Field(256, ge=1, description="Rows of the old data that are asked")
    length: int | None = Field(None, ge=1, description="Tokens of a row of the old data; by default the model's context")

    def prepare(self, run: Run, state: MethodState) -> None:
        """Copy the start, and ask the old data. Raises PliantError for data that is not for the network's head."""
        keep_start(run, state)
        state.tensors.update({f"fisher.{name}": values for name, values in self.fisher(run).items()})

    def fisher(self, run: Run) -> dict[str, Tensor]:
        """The diagonal empirical Fisher information of each trained parameter, by name."""
        import torch

        needs = self.old.needs()
        if needs is not None and (needs.task != run.model.task.name or fitted(run.model, needs) is not run.model):
            raise PliantError(f"ewc: {self.old.kind} needs a head for another task or other labels than the run's ({run.model.task.name})")
        parameters, weight = run.parameters(), 0.0
        found = {name: torch.zeros_like(p) for name, p in parameters.items()}
        batch = self.old.examples(run.model, self.length).batch(0, self.examples, run.seed).to(run.model.device)
        with evaluating(run.network):
            for row in batch.split(1):
                losses = self.old.losses(run.network, row)
                gradients = torch.autograd.grad(losses.totals.sum(), list(parameters.values()), materialize_grads=True)
                weight += float(losses.weights.sum())
                for total, gradient in zip(found.values(), gradients, strict=True):
                    total.addcmul_(gradient, gradient)
        return {name: total / weight for name, total in found.items()}

    def gradients(self, run: Run, state: MethodState, compute: Compute, batch: Batch) -> Tensor:
        """Add the penalty's gradient, strength x F x (weights - start); the log keeps the loss without it."""
        loss = compute(batch)
        for name, p in run.parameters().items():
            force = self.strength * state.tensors[f"fisher.{name}"] * (p.detach() - state.tensors[name])
            p.grad = force if p.grad is None else p.grad.add_(force)
        return loss
