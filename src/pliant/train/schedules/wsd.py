"""Warm-up, stable, decay: the rate stays, then falls linearly over the last `decay` of the steps.

When to use it: budgets that are decided late; every budget shares its stable part. Source: arXiv 2404.06395.
"""

from __future__ import annotations

from pliant.train.schedules.schedule import Schedule


class Wsd(Schedule):
    """Stay, then fall linearly at the end."""

    def left(self, step: int, steps: int, warmup: int, decay: float) -> float:
        """1 until the decay begins, then in a straight line to 0."""
        start = max(warmup, steps - round(decay * steps))
        if step < start:
            return 1.0
        return 1 - (step - start) / (steps - start) if steps > start else 0.0
