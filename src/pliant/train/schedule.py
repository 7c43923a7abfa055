"""Learning rates as pure functions of the step.

Idea: the rate rises linearly over the warm-up, then follows one of three shapes to `final` x peak: `cosine` (half a cosine),
`constant` (stays), `wsd` (warm-up, stable, decay: stays, then falls linearly over the last share of the run).
What goes wrong: checkpoints taken along a cosine of a longer run are not comparable with annealed ones; the rate that was
reached is a fact of every checkpoint (`final_lr`), because decay is the rival explanation of over-training.
Source: cosine arXiv 1608.03983; warmup-stable-decay arXiv 2404.06395.
"""

from __future__ import annotations

from math import cos, pi
from typing import Literal

Shape = Literal["cosine", "constant", "wsd"]


def learning_rate(
    step: int, steps: int, peak: float, shape: Shape = "cosine", warmup: int = 0, decay: float = 0.2, final: float = 0.0
) -> float:
    """The learning rate of step `step` of `steps`, counted from 0; at `step == steps`, the rate reached at the end.

    Warm-up step s has (s + 1) / warmup of the peak, so that no step is lost at rate zero.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    if shape == "constant":
        return peak
    start = warmup if shape == "cosine" else max(warmup, steps - round(decay * steps))
    if step < start:
        return peak
    done = (step - start) / (steps - start) if steps > start else 1.0
    left = (1 + cos(pi * done)) / 2 if shape == "cosine" else 1 - done
    return peak * (final + (1 - final) * left)
