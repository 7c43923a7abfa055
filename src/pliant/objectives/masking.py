"""Hiding tokens from a masked language model, as BERT does: which are to be predicted, and what stands in their place.

A fraction of the tokens is chosen, each by its own draw, at least one a row; of these 80% are replaced by the mask, 10% by any token, and
10% stay. What is drawn comes from a counter-based generator, so the same key hides the same tokens on every machine.
Source: arXiv 1810.04805.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pliant.errors import PliantError

if TYPE_CHECKING:
    from pliant.models import Model

FRACTION, MASKED, REPLACED = 0.15, 0.8, 0.1
UNPREDICTED = -100
"""Stands in targets for a token that is not predicted."""


class Frame(NamedTuple):
    """How a model reads a piece of text whose tokens are hidden: the ids around it, its mask, and how many ids there are."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    mask: int
    vocabulary: int

    @classmethod
    def of(cls, model: Model) -> Frame:
        """As its tokenizer frames a text. Raises PliantError for a tokenizer and network without a token for the mask."""
        told = model.tokenizer.mask_id
        mask = told if told is not None else getattr(model.network.config, "mask_token_id", None)
        if not isinstance(mask, int):
            raise PliantError(f"{model.checkpoint.address}: neither its tokenizer nor its config.json names a token for masked places")
        before, after = model.tokenizer.frame
        return cls(before, after, mask, model.tokenizer.vocab_size)

    @property
    def around(self) -> int:
        """Tokens that are not the text's."""
        return len(self.before) + len(self.after)

    def hidden(self, text: NDArray[np.int64], draws: NDArray[np.float64], fraction: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Inputs and targets (rows, length + around) of token ids (rows, length).

        Args:
            text: Ids of the text alone.
            draws: (3, rows, length) uniform in [0, 1): which are chosen, what happens to them, and which token replaces them.
            fraction: Of the tokens that are chosen.
        """
        chosen = draws[0] < np.maximum(fraction, np.nextafter(draws[0].min(-1, keepdims=True), 2))
        inputs = np.where(chosen & (draws[1] < MASKED), self.mask, text)
        swapped = chosen & (draws[1] >= MASKED) & (draws[1] < MASKED + REPLACED)
        inputs = np.where(swapped, (draws[2] * self.vocabulary).astype(np.int64), inputs)
        unread = tuple((UNPREDICTED,) * len(side) for side in (self.before, self.after))
        return _framed(inputs, self.before, self.after), _framed(np.where(chosen, text, UNPREDICTED), *unread)


def _framed(ids: NDArray[np.int64], before: tuple[int, ...], after: tuple[int, ...]) -> NDArray[np.int64]:
    """Each row with the same ids around it."""
    sides = [np.tile(np.array(side, np.int64), (len(ids), 1)) for side in (before, after)]
    return np.concatenate([sides[0], ids, sides[1]], axis=1)


def draws(key: int, counter: int, rows: int, length: int) -> NDArray[np.float64]:
    """(3, rows, length) uniform in [0, 1), from the Philox counter-based generator, whose stream is fixed for all versions of numpy."""
    raw = np.random.Philox(key=key, counter=[0, 0, counter, 3]).random_raw(3 * rows * length)
    return (raw >> np.uint64(11)).reshape(3, rows, length).astype(np.float64) * 2.0**-53
