"""Exponential moving average: what is delivered is an average over the last steps' weights, the latest counting most.

Idea: average = decay x average + (1 - decay) x weights after every step, from the weights after the first step on; training itself does
not see it. About the last 1 / (1 - decay) steps count.
When to use it: constant learning rates, whose last weights are noisy; in place of a decay at the end.
Cost: one copy of the trained weights, one pass over them a step.
What goes wrong: a decay that is longer than the run keeps its beginning: 0.999 needs several thousand steps. With a rate that falls to
zero there is little left to average. The log's losses are those of the weights in training.
Source: Polyak and Juditsky 1992; the averages of torch.optim.swa_utils.
"""

from __future__ import annotations

from pydantic import Field

from pliant.methods.averaging import FACTORS, renew_statistics
from pliant.methods.method import Method, MethodState, Run


class Ema(Method):
    """Deliver the moving average of the weights."""

    holds = frozenset({"average"})
    follows = frozenset({"trained", "start", "updates"})
    refuses = (("factors", FACTORS),)
    decay: float = Field(0.99, ge=0, lt=1, description="What the average so far counts at each step")

    def after_step(self, run: Run, state: MethodState) -> None:
        """Add this step's weights."""
        for name, p in run.parameters().items():
            average = state.tensors.setdefault(name, p.detach().clone())
            average.lerp_(p.detach(), 1 - self.decay)

    def finish(self, run: Run, state: MethodState) -> None:
        """Put the average in place."""
        for name, p in run.parameters().items():
            p.data.copy_(state.tensors[name])
        renew_statistics(run)
