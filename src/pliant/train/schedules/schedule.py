"""What every learning-rate schedule is: the shape of the rate between the warm-up and the end of a run.

The rate rises linearly over the warm-up to its peak; from there a schedule says how much of the way down to `final` x peak is left.
What goes wrong: checkpoints taken along a falling rate of a longer run are not comparable with annealed ones; the rate that was
reached is a fact of every checkpoint (`final_lr`), because decay is the rival explanation of over-training.
"""

from __future__ import annotations

from typing import ClassVar

from pliant.spec import Spec


class Schedule(Spec):
    """Base of all schedules. Abstract: a subclass writes `left`."""

    open_ended: ClassVar[bool] = False
    """Whether it does not know the length of its run, so that a shorter run is the beginning of a longer one."""

    def left(self, step: int, steps: int, warmup: int, decay: float) -> float:
        """How much of the way from peak to final rate is left at a step from `warmup` to `steps`: 1 at the peak, 0 at the final rate.

        `decay` is the recipe's fraction of the steps over which a rate that stays first may fall.
        """
        raise NotImplementedError

    def rate(self, step: int, steps: int, peak: float, warmup: int, decay: float, final: float) -> float:
        """The learning rate of step `step` of `steps`, counted from 0; at `step == steps`, the rate reached at the end.

        Warm-up step s has (s + 1) / warmup of the peak, so that no step is lost at rate zero.
        """
        if step < warmup:
            return peak * (step + 1) / warmup
        left = self.left(step, steps, warmup, decay)
        return peak if left == 1 else peak * (final + (1 - final) * left)
