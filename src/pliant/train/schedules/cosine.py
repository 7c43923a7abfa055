"""Cosine: the rate falls from the first step after the warm-up, as half a cosine.

When to use it: one run to one budget. Source: arXiv 1608.03983.
"""

from __future__ import annotations

from math import cos, pi

from pliant.train.schedules.schedule import Schedule


class Cosine(Schedule):
    """Fall as half a cosine from the warm-up to the end."""

    def left(self, step: int, steps: int, warmup: int, decay: float) -> float:
        """(1 + cos(pi x)) / 2 at the fraction x of the steps behind the warm-up."""
        done = (step - warmup) / (steps - warmup) if steps > warmup else 1.0
        return (1 + cos(pi * done)) / 2
