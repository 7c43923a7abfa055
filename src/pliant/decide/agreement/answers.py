"""What several heads answer to the same items: labelled ones, where it is known who is right, and unlabelled ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pliant.decide.agreement.line import FEWEST, pairs_of
from pliant.errors import PliantError
from pliant.statistics import Array


@dataclass(frozen=True)
class HeadAnswers:
    """Answers as numbers (heads, items), equal where they are the same; confidences (heads, items) from 0 to 1.

    Raises PliantError for fewer than three heads, and for heads that all answer alike.
    """

    heads: Sequence[str]
    known: NDArray[np.int64]
    known_sure: Array
    right: Array
    """(heads, labelled items) 1 where the answer is right."""
    shifted: NDArray[np.int64]
    shifted_sure: Array

    def __post_init__(self) -> None:
        if len(self.heads) < FEWEST:
            raise PliantError(f"{len(self.heads)} heads are too few: agreement on the line takes {FEWEST} or more")
        for answers, data in ((self.known, "labelled"), (self.shifted, "unlabelled")):
            if (answers == answers[0]).all():
                raise PliantError(f"all {len(self.heads)} heads answer alike on the {data} data: without disagreement nothing can be told")

    @cached_property
    def alike(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(pairs, items) 1 where both answer alike, on labelled and on unlabelled items."""
        first, second = pairs_of(len(self.heads))
        known, shifted = ((answers[first] == answers[second]).astype(np.float32) for answers in (self.known, self.shifted))
        return known, shifted
