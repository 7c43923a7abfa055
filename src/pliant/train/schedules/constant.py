"""Constant: the rate stays at its peak.

When to use it: probes, and trajectories on which a shorter run is the beginning of a longer one: the un-decayed arm.
"""

from __future__ import annotations

from pliant.train.schedules.schedule import Schedule


class Constant(Schedule):
    """Never fall."""

    open_ended = True

    def left(self, step: int, steps: int, warmup: int, decay: float) -> float:
        """All of it."""
        return 1.0
