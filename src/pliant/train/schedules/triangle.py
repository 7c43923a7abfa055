"""Triangle: the rate rises linearly to its peak, then falls linearly to the end; the rise is its own warm-up.

When to use it: short fine-tunings whose best rate is near the largest stable one. Give `warmup: 0`: what the recipe warms up
comes before the triangle. Source: slanted triangular rates, arXiv 1801.06146 (section 3.2).
"""

from __future__ import annotations

from pydantic import Field

from pliant.train.schedules.schedule import Schedule


class Triangle(Schedule):
    """Rise to the peak, then fall to the final rate."""

    peak: float = Field(0.1, gt=0, lt=1, description="Fraction of the steps behind the warm-up at which the peak lies")

    def left(self, step: int, steps: int, warmup: int, decay: float) -> float:
        """Step s of the rise has (s + 1) / rise of the peak, so that no step is lost at rate zero."""
        done, rise = step - warmup, max(1, round(self.peak * (steps - warmup)))
        if done < rise:
            return (done + 1) / rise
        fall = steps - warmup - rise
        return 1 - (done - rise) / fall if fall > 0 else 0.0
