"""What a model answers, item by item, whether right or wrong: for agreement between models, and for what a model knows.

Idea: an answer is a class, not an amount, so answers have no mean and are no reading; that two models give the same one is. Agreement with
the unchanged model sees flips that accuracies of both hide, since right-to-wrong and wrong-to-right cancel in them.
Cost: as the measure that asks (`Choice`, `Accuracy`).
What goes wrong: classes must be the same in both: answers of another set of names do not compare.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pliant.errors import PliantError
from pliant.measures.measure import Reading


@dataclass(frozen=True)
class Predictions:
    """The class (items,) that a model answers with, by the items' stable ids.

    `names` are the classes where all items share them; where every item has answers of its own there are none, and `values` are places
    among those. `data` is the fingerprint of what was asked.
    """

    samples: Sequence[str]
    values: NDArray[np.int64]
    names: Sequence[str] = ()
    data: str = ""

    def answers(self) -> list[str]:
        """By name, or by place (from 0) where there are no names."""
        names = list(self.names)
        return [names[int(value)] if names else str(int(value)) for value in self.values]


def agreement(first: Predictions, second: Predictions) -> Reading:
    """How often two models answer alike: 1 where they do, item by item; with an interval as any reading.

    Raises PliantError where they were asked other items, or answer with other classes.
    """
    if list(first.samples) != list(second.samples) or first.data != second.data:
        raise PliantError("agreement: the two were asked other items; ask both by the same measure")
    if tuple(first.names) != tuple(second.names):
        raise PliantError(f"agreement: one answers with {', '.join(first.names)[:60]}, the other with {', '.join(second.names)[:60]}")
    alike = (first.values == second.values).astype(np.float64)
    return Reading("agreement", "fraction alike", first.samples, alike, np.ones(len(alike)), first.data, better="higher")
