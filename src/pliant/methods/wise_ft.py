"""WiSE-FT: what is delivered lies between where training started and where it ended.

Idea: weights = (1 - alpha) start + alpha trained, once, after the last step: `sfa` with p = 1 and beta = 1 - alpha.
When to use it: to keep what the start could do on other data than the new; alpha 0.5 without anything to choose by.
Cost: one copy of the trained weights.
What goes wrong: long training leaves the basin of the start, and between two basins there is a mountain: measure several alphas. A head
that is fresh is averaged with random numbers. The log's losses are those of the trained weights.
Source: arXiv 2109.01903.
"""

from __future__ import annotations

from pydantic import Field

from pliant.methods.averaging import keep_start, pull, renew_statistics
from pliant.methods.method import Method, MethodState, Run
from pliant.methods.sfa import Sfa


class WiseFt(Method):
    """Deliver weights between the start and the end."""

    holds, follows, refuses = Sfa.holds, Sfa.follows, Sfa.refuses
    strength_field = "alpha"
    strengths = (0.9, 0.7, 0.5)
    alpha: float = Field(0.5, ge=0, le=1, description="What the trained weights count; the start counts the rest")

    def prepare(self, run: Run, state: MethodState) -> None:
        """Copy the start."""
        keep_start(run, state)

    def finish(self, run: Run, state: MethodState) -> None:
        """Interpolate."""
        pull(run, state, 1 - self.alpha)
        renew_statistics(run)
