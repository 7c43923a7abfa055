"""Steps: the rate falls by a factor at given places of the run, and stays between them.

When to use it: image classifiers trained by SGD with momentum. Source: as in arXiv 1512.03385 (section 3.4).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pliant.train.schedules.schedule import Schedule

Fraction = Annotated[float, Field(gt=0, lt=1)]


class Steps(Schedule):
    """Multiply the rate by `factor` at each of the fractions `at` of the run."""

    at: tuple[Fraction, ...] = Field((0.5, 0.75), min_length=1, description="Fractions of the run after which the rate falls")
    factor: float = Field(0.1, gt=0, lt=1, description="What the rate is multiplied by at each of them")

    def left(self, step: int, steps: int, warmup: int, decay: float) -> float:
        """factor^k behind k of the places."""
        return self.factor ** sum(step >= fraction * steps for fraction in self.at)
