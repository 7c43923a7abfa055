"""Which documents are held out: decided by each document's own hash.

A document is held out when its 64-bit hash, as a fraction of 2^64, lies below a share of 10%, halved as often as it takes
to hold out at most 512 Ki characters. So the split depends neither on the order of the documents nor on their number, as
long as the corpus stays below the size at which the share halves (5.2M, 10.5M, 21M ... characters); beyond it some held-out
documents move to the training part, never the other way. Where no hash lies below the share (tiny corpora) the smallest
one is held out. What goes wrong: near-duplicates and pieces of one long document may land on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pliant.errors import PliantError

Part = Literal["train", "heldout", "all"]

HELD_OUT_SHARE = 0.1
HELD_OUT_CHARACTERS = 512 * 1024
_REPEATED, _TRAIN, _HELD_OUT = 0, 1, 2


@dataclass(frozen=True)
class Split:
    """The side of every document of a corpus, in the order they are read."""

    hashes: NDArray[np.uint64]
    lengths: NDArray[np.uint32]  # characters
    sides: NDArray[np.uint8]  # 0: repeats an earlier document, 1: train, 2: held out
    told: bytes = b"[{}, []]"  # what there was besides, as `LeftOut.told` has it

    @classmethod
    def of(cls, hashes: NDArray[np.uint64], lengths: NDArray[np.uint32]) -> Split:
        """Decide from the documents' hashes and lengths. Repeats are dropped before anything is counted."""
        first = np.zeros(len(hashes), bool)
        first[np.unique(hashes, return_index=True)[1]] = True
        sides = first.astype(np.uint8)
        if first.sum() >= 2:
            kept = hashes[first]
            share = held_out_share(int(lengths[first].sum(dtype=np.int64)))
            threshold = min(max(int(share * 2**64), int(kept.min()) + 1), int(kept.max()))
            sides[first & (hashes < np.uint64(threshold))] = _HELD_OUT
        return cls(hashes, lengths, sides)

    def repeats(self, part: Part) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The numbers of documents that repeat one of `part`, and of those that they repeat."""
        numbers = np.flatnonzero(self.sides == _REPEATED)
        firsts = np.flatnonzero(self.sides != _REPEATED)
        order = firsts[np.argsort(self.hashes[firsts])]
        repeated = order[np.searchsorted(self.hashes[order], self.hashes[numbers])] if len(numbers) else numbers
        inside = self.selected(part)[repeated]
        return numbers[inside], repeated[inside]

    def selected(self, part: Part) -> NDArray[np.bool_]:
        """Which documents belong to `part`. Raises PliantError when the corpus is empty or cannot be split."""
        if not len(self.sides):
            raise PliantError("the corpus is empty: it holds no text but white space")
        if part == "all":
            return self.sides != _REPEATED
        if (self.sides != _REPEATED).sum() < 2:
            raise PliantError(
                f"the corpus is one document of {int(self.lengths[0])} characters, too little to hold a part of it out; "
                "add text, or use part: all with another corpus for evaluation"
            )
        return self.sides == (_TRAIN if part == "train" else _HELD_OUT)


def held_out_share(characters: int) -> float:
    """10%, halved until it is at most 512 Ki characters of a corpus of so many."""
    share = HELD_OUT_SHARE
    while share * characters > HELD_OUT_CHARACTERS:
        share /= 2
    return share
