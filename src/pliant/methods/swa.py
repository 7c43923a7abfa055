"""Stochastic weight averaging: what is delivered is the plain mean of the weights over the last part of the run.

Idea: from `start` of the run on, every `every` steps the weights enter a mean with equal weights; training itself does not see it.
When to use it: at a constant or high learning rate (`schedule: constant`), where the weights walk around a minimum that their mean is
nearer to.
Cost: one copy of the trained weights.
What goes wrong: with a rate that falls to zero the last weights are all alike, and the mean is worse than they are if it starts early.
Batch norm's statistics are taken anew. The log's losses are those of the weights in training.
Source: arXiv 1803.05407; the average of torch.optim.swa_utils.
"""

from __future__ import annotations

from pydantic import Field

from pliant.methods.averaging import FACTORS, renew_statistics
from pliant.methods.method import Method, MethodState, Run


class Swa(Method):
    """Deliver the mean of the last part's weights."""

    holds = frozenset({"average"})
    follows = frozenset({"trained", "start", "updates"})
    refuses = (("factors", FACTORS),)
    start: float = Field(0.75, ge=0, lt=1, description="Fraction of the run after which the mean begins")
    every: int = Field(1, ge=1, description="Steps between two weights that enter it")

    def after_step(self, run: Run, state: MethodState) -> None:
        """Add this step's weights: mean + (weights - mean) / count."""
        since = run.step - int(self.start * run.steps)
        if since < 0 or since % self.every:
            return
        for name, p in run.parameters().items():
            mean = state.tensors.setdefault(name, p.detach().clone())
            mean.lerp_(p.detach(), 1 / (since // self.every + 1))

    def finish(self, run: Run, state: MethodState) -> None:
        """Put the mean in place; a run that was ended before it began keeps its weights."""
        for name, p in run.parameters().items():
            p.data.copy_(state.tensors.get(name, p.detach()))
        renew_statistics(run)
