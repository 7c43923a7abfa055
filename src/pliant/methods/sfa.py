"""Sequential fine-tuning with averaging: every so often the weights go a part of the way back to where training started.

Idea: after every K = p x steps optimizer steps, and after the last one, weights = (1 - beta) weights + beta start. p = 1 is `wise_ft`; at
every step and with plain SGD it is proximal gradient descent on an L2 penalty to the start of strength beta / (rate (1 - beta)).
When to use it: to keep old skills without old data. beta 0.25 to 0.5 with p 0.25 kept most of the old loss in our runs.
Cost: one copy of the trained weights; nothing a step.
What goes wrong: the pull a step is 1 - (1 - beta)^(1/K): settings are to be compared at equal pull. Small p with large beta undoes the
learning. beta weighs the start (mergekit and WiSE-FT's alpha weigh the new). A head that is fresh is pulled to random numbers. The
optimizer's moments stay. With LoRA (listed before) the update as a whole shrinks, which is the same; DoRA's cannot: refused.
Source: arXiv 2501.05559.
"""

from __future__ import annotations

from pydantic import Field

from pliant.methods.averaging import keep_start, pull, renew_statistics
from pliant.methods.method import Method, MethodState, Run


class Sfa(Method):
    """Average with the start, several times while training."""

    holds = frozenset({"start"})
    follows = frozenset({"trained", "updates"})
    refuses = (("magnitudes", "its magnitudes make the weights no average of two; use lora"),)
    strength_field = "beta"
    strengths = (0.1, 0.25, 0.5)
    p: float = Field(0.25, gt=0, le=1, description="Fraction of the steps between two averages")
    beta: float = Field(0.25, ge=0, le=1, description="What the start counts in each")

    def every(self, steps: int) -> int:
        """Optimizer steps between two averages."""
        return max(1, round(self.p * steps))

    def prepare(self, run: Run, state: MethodState) -> None:
        """Copy the start."""
        keep_start(run, state)

    def after_step(self, run: Run, state: MethodState) -> None:
        """Go back a part of the way, when it is time."""
        if (run.step + 1) % self.every(run.steps) == 0:
            pull(run, state, self.beta)

    def finish(self, run: Run, state: MethodState) -> None:
        """Once more, unless the last step did."""
        if (run.step + 1) % self.every(run.steps) != 0:
            pull(run, state, self.beta)
        renew_statistics(run)
