"""Whether an attack can be believed: what its checks, read as readings of `robustness`, say against it.

Idea: an attack that follows gradients must do no worse than blind noise and than its own first step, must not do worse with more steps,
and must break everything once its budget allows any picture. A model whose gradients lead nowhere (rounded to nothing, or hidden by a
layer that has none) fails one of these, and its accuracy under attack is no evidence.
Source: arXiv 1802.00420, section 3.1; arXiv 1902.06705.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pliant.measures.measure import Reading
from pliant.statistics import paired_difference

MISSED = 0.02
"""Share of the examples that a weaker attack may break beside what the attack does: single ones do so by chance."""
LEFT = 0.05
"""Accuracy that may be left without a bound."""
FOUND = 0.05
"""Share that a stronger attack may find beyond the attack before it is said not to have converged."""


def failed_checks(readings: Sequence[Reading]) -> Iterator[str]:
    """A line for each check that failed: what was seen, and what it means."""
    named = {reading.metric: reading for reading in readings}
    missed, beyond, left = (named.get(name) for name in ("missed_by_attack", "found_beyond_attack", "accuracy without a bound"))
    if missed is not None and _mean(missed) > MISSED:
        yield f"gradients are masked: weaker attacks break {_mean(missed):.1%} of the examples that this one leaves whole"
    if left is not None and _mean(left) > LEFT:
        yield f"gradients are masked: {_mean(left):.1%} stay right where the budget allows any picture"
    if more := named.get("accuracy after twice the steps"):
        robust = named["robust_accuracy"].values[: len(more.values)]
        rise = paired_difference(more.values[None, None], robust[None], more.weights, more.clusters)
        if rise.low > MISSED:
            yield f"gradients are masked: twice the steps leave {rise.value:.1%} more examples right"
    if beyond is not None and _mean(beyond) > FOUND:
        yield f"the attack has not converged: stronger ones break {_mean(beyond):.1%} more; raise its steps or restarts"


def _mean(reading: Reading) -> float:
    return float(np.mean(reading.values))
