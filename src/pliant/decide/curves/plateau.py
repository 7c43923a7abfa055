"""Where a curve that improved stops doing so: from which checkpoint on it is shown to be flat.

Idea: flat is not the same as "no difference found". A checkpoint is level with the last one where the bounds of their difference lie
within a tenth of what the curve gained in all; the plateau begins where that holds for every later checkpoint too. So a short or
noisy curve has none, and stays undetermined. A curve that surely moved further than that is called level in at most 5% of cases.
When to use it: to stop paying for checkpoints; the difference that counts is a tenth of the gain, whatever the metric's unit.
What goes wrong: a curve that gains little in all has a narrow margin, and needs many questions to show a plateau; errors of points
that share their questions must be said to be shared (`Curve.from_table(..., shared=)`), or nothing is ever shown to be level.
Source: two one-sided tests of equivalence (Schuirmann 1987), for all later checkpoints at once (intersection-union).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pliant.statistics import Array

LEVEL = 0.1
"""Share of the whole gain within which two checkpoints count as level."""


def flat_from(far: NDArray[np.bool_], difference: Array, reach: Array) -> int | None:
    """The first checkpoint of the plateau that the last one ends, over at least a doubling of positions and three checkpoints.

    `difference` (checkpoints - 1,) is how much worse the last checkpoint is than each earlier one, `reach` the distance to its one-sided
    95% bounds, `far` (checkpoints,) which of them lie a doubling or more before the last. None: no improvement before, or no plateau shown.
    """
    gain, last = -difference[0], len(difference)
    if gain <= reach[0]:
        return None
    first = last
    while first > 1 and abs(difference[first - 1]) + reach[first - 1] < LEVEL * gain:
        first -= 1
    return first if last - first >= 2 and far[first] else None
