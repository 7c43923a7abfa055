"""The scale on which a target is extrapolated: its logarithm, or for what may be negative a straight image that looks like a loss.

The priors of the extrapolating form know losses: positive, falling, their floor at about half of their mean, their
logarithms spread by about 0.12. A target whose residuals are differences (a normalised loss that may be negative, an accuracy
that rises) is moved and stretched until it looks so; nothing then depends on its unit or its zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pliant.laws.law import Array

USUAL = 0.12
"""Standard deviation of the logarithm of a table's losses."""
NEAREST = 0.2
"""No image comes nearer to zero than so much of the mean image."""


@dataclass(frozen=True)
class TargetScale:
    """y = log(offset + slope * target)."""

    offset: float
    slope: float

    def __call__(self, target: Array) -> Array:
        """The scale that is fitted."""
        return np.log(np.maximum(self.offset + self.slope * target, 1e-3))

    def back(self, y: Array) -> Array:
        """In the target's unit."""
        return (np.exp(y) - self.offset) / self.slope

    def ends(self, y: Array, half: Array) -> tuple[Array, Array]:
        """The interval in the target's unit."""
        first, second = self.back(y - half), self.back(y + half)
        return np.minimum(first, second), np.maximum(first, second)


def target_scale(target: Array, size: Array, logs: bool) -> TargetScale:
    """For a target of this table; `size` says which way it runs."""
    if logs:
        return TargetScale(0.0, 1.0)
    ranks = np.argsort(np.argsort(size)) - (len(size) - 1) / 2
    falls = float(ranks @ (target - target.mean())) <= 0
    spread = max(float(np.std(target)) / USUAL, float(np.abs(target - target.mean()).max()) / (1 - NEAREST), 1e-12)
    slope = (1 if falls else -1) / spread
    return TargetScale(1 - slope * float(target.mean()), slope)
