"""The order of examples that are seen again and again: every one once an epoch, shuffled anew each time, by (seed, step) alone."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


def order(count: int, step: int, rows: int, seed: int) -> NDArray[np.int64]:
    """The numbers (rows,), below `count`, of the examples of one step: a pure function of its arguments.

    Steps follow each other through the epochs; a batch may begin in one epoch and end in the next.
    """
    places = np.arange(step * rows, (step + 1) * rows)
    epochs, within = np.divmod(places, count)
    return np.array([_shuffled(count, int(epoch), seed)[place] for epoch, place in zip(epochs, within, strict=True)], np.int64)


@lru_cache(maxsize=4)
def _shuffled(count: int, epoch: int, seed: int) -> NDArray[np.int64]:
    """One epoch's order, from the Philox counter-based generator, whose stream is fixed for all versions of numpy."""
    keys = np.random.Philox(key=seed, counter=[0, 0, epoch, 1]).random_raw(count)
    return np.argsort(keys, kind="stable").astype(np.int64)
