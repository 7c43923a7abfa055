"""What else guesses accuracy without labels, beside agreement on the line: each has one number for each head.

`average_confidence`: how sure the head is, taken at its word. `atc` (arXiv 2201.04220): the share of items on which it is surer than the
threshold above which, on labelled data, there are as many items as right answers. `naive_agreement`: how often it agrees with the others.
No temperature is fitted first, which helps the first two where heads are far too sure.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pliant.statistics import Array


def average_confidence(shifted: Array) -> Array:
    """(heads,) of (heads, items) confidences."""
    return shifted.mean(1)


def atc(known: Array, right: Array, shifted: Array) -> Array:
    """(heads,) of (heads, items) confidences on labelled data, whether right there, and confidences on shifted data."""
    thresholds = [np.quantile(sure, 1 - hit.mean(), method="inverted_cdf") for sure, hit in zip(known, right, strict=True)]
    return np.array([(sure > threshold).mean() for sure, threshold in zip(shifted, thresholds, strict=True)])


def naive_agreement(agreements: Array, first: NDArray[np.int64], second: NDArray[np.int64], heads: int) -> Array:
    """(heads,) the mean of (pairs,) agreements of the pairs that a head is in."""
    return (np.bincount(first, agreements, heads) + np.bincount(second, agreements, heads)) / (heads - 1)
