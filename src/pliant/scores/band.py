"""A band of scores: the part of a ranking that is kept.

Idea: examples are sorted by their score, ties by id, and those between two places are kept: `low` from the beginning, `high` up to the
end, `medium` around the middle, `offset:10%` up to the tenth below the highest, which may be wrong labels or junk. Places count documents
or tokens. So `low` of a share and `high` of the rest are all of them, once. `random` is the control that every selection needs.
Cost: one sort; ten million scores take seconds.
What goes wrong: a band of documents is not the same share of the tokens, since long and short documents score differently; see the card.
Source: arXiv 2405.20541 (bands), 2107.07075 (offset); within each domain is an option of ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pliant.errors import PliantError
from pliant.statistics import Array

BANDS = ("high", "medium", "low", "random", "offset:SHARE")


@dataclass(frozen=True)
class Band:
    """Places in a ascending ranking: from the share `start` of it to the share `end`."""

    name: str
    start: Fraction
    end: Fraction

    @classmethod
    def parse(cls, keep: str, band: str) -> Band:
        """From `50%` and `medium`. Raises PliantError for shares that are none, and for more than there is."""
        kept, (name, colon, passed) = share(keep, "--keep"), band.partition(":")
        if name == "offset" and colon:
            end = 1 - share(passed, "--band offset")
            if kept > end:
                raise PliantError(f"--band {band} leaves {float(end):.4g} of the examples, fewer than --keep {keep}")
            return cls(band, end - kept, end)
        starts = {"high": 1 - kept, "medium": (1 - kept) / 2, "low": Fraction(0), "random": Fraction(0)}
        if band not in starts:
            raise PliantError(f"--band {band[:40]!r}: there are {', '.join(BANDS)}, as in offset:10%")
        return cls(band, starts[band], starts[band] + kept)

    def kept(
        self, values: Array, ids: NDArray[np.uint64], tokens: NDArray[np.int64], groups: NDArray[np.int64] | None = None,
        by_tokens: bool = False, seed: int = 0,
    ) -> NDArray[np.bool_]:  # fmt: skip
        """Which examples (examples,) are kept, within each group for itself.

        Args:
            values: The scores.
            ids: What tells examples of one score apart, whatever their order.
            tokens: How much each counts where `by_tokens`: then an example is kept if its middle token lies in the band.
            groups: The number of each example's group.
            by_tokens: Whether places are counted in tokens.
            seed: Of a random order.

        Raises PliantError where none is kept.
        """
        keys: NDArray[Any] = scattered(ids, seed) if self.name == "random" else values
        order = ascending(keys, ids) if groups is None else np.lexsort((ids, keys, groups))
        ends = [len(order)] if groups is None else np.cumsum(np.bincount(groups)).tolist()
        kept = np.zeros(len(values), bool)
        for start, end in zip([0, *ends[:-1]], ends, strict=True):
            inside = order[start:end]
            kept[inside[self._within(tokens[inside] if by_tokens else np.ones(len(inside), np.int64))]] = True
        if not kept.any():
            raise PliantError(f"this band keeps none of {len(values)} examples; keep a larger share, or another band")
        return kept

    def _within(self, weights: NDArray[np.int64]) -> NDArray[np.bool_]:
        ends = np.cumsum(weights)
        total = int(ends[-1]) if len(ends) else 0
        middles = ends - weights / 2
        return (middles >= float(self.start * total)) & (middles < float(self.end * total))


def ascending(keys: NDArray[Any], ids: NDArray[np.uint64]) -> NDArray[np.int64]:
    """What sorts by `keys`, and by `ids` where those are equal: one sort, and a second of what is tied."""
    order = np.argsort(keys)
    equal = np.diff(keys[order]) == 0
    tied = np.flatnonzero(np.append(equal, False) | np.append(False, equal))
    order[tied] = order[tied][np.lexsort((ids[order[tied]], keys[order[tied]]))]
    return order


def share(text: str, what: str) -> Fraction:
    """`50%`, `0.5` or `1/2`. Raises PliantError for what is no share above 0 and at most 1."""
    try:
        number = Fraction(text.strip().removesuffix("%")) / (100 if text.strip().endswith("%") else 1)
    except (ValueError, ZeroDivisionError):
        raise PliantError(f"{what} {text[:40]!r}: is no share; write 50% or 0.5") from None
    if not 0 < number <= 1:
        raise PliantError(f"{what} {text[:40]}: a share is above 0 and at most 1; write 50% or 0.5")
    return number


def scattered(ids: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """A random number for each id, the same wherever it stands: splitmix64, whose constants are published."""
    with np.errstate(over="ignore"):
        mixed = ids + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))
