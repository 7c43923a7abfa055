"""Inverse square root: behind its warm-up of w steps the rate falls as sqrt(w / step), whatever the length of the run.

When to use it: trajectories whose end is not known, which go on falling. Source: arXiv 1706.03762 (section 5.3).
"""

from __future__ import annotations

from math import sqrt

from pliant.train.schedules.schedule import Schedule


class InverseSqrt(Schedule):
    """Fall as one over the square root of the step."""

    open_ended = True

    def left(self, step: int, steps: int, warmup: int, decay: float) -> float:
        """sqrt(w / s), with w at least one step."""
        start = max(warmup, 1)
        return sqrt(start / max(step, start))
