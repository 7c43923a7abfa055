"""Examples that are pairs of sequences: the chosen answer and the rejected one, side by side in a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pliant.data.order import order
from pliant.data.sequences import UNCUT, Sequences
from pliant.errors import PliantError
from pliant.objectives.objective import Batch

if TYPE_CHECKING:
    from torch import Tensor

    from pliant.data import Part, Tokenizer
    from pliant.data.preferences import Preferences
    from pliant.models import Model


def uncut(data: Preferences, tokenizer: Tokenizer, part: Part) -> Sequences:
    """The pairs as they are."""
    return data.sequences(tokenizer, part, UNCUT)


def cut(data: Preferences, model: Model, part: Part, length: int | None) -> Sequences:
    """The pairs, cut to `length` predicted tokens each. Raises PliantError for a length beyond the model's context."""
    if length is not None and length > model.context:
        raise PliantError(f"length {length} is more than the model's context of {model.context} tokens")
    return data.sequences(model.tokenizer, part, length or model.context)


@dataclass(frozen=True)
class Pairs:
    """Pairs of dialogues as token sequences; every one once an epoch."""

    sequences: Sequences
    chance: float
    """The loss of preferring neither."""
    known: tuple[tuple[str, NDArray[np.float64]], ...] = ()
    """What else is known of each pair (pairs, ...), by name."""

    @property
    def fingerprint(self) -> str:
        """Of tokens and marks."""
        return self.sequences.fingerprint

    @property
    def unique(self) -> int:
        """Tokens of answers, chosen and rejected."""
        return int(self.sequences.counts["answer_tokens"])

    @property
    def row_tokens(self) -> float:
        """Of both answers, on average."""
        return self.unique / len(self)

    def __len__(self) -> int:
        return len(self.sequences.examples) - 1

    def batch(self, step: int, rows: int, seed: int) -> Batch:
        """The next pairs of the epoch."""
        return self.rows(order(len(self), step, rows, seed))

    def rows(self, numbers: NDArray[np.int64]) -> Batch:
        """These pairs: `input_ids` (rows, 2, length), padded on the right, and as targets (rows, 2, length) the next tokens.

        Targets are -100 where a token is not an answer's; `real` says which inputs are no padding.
        """
        import torch

        found = [self.sequences.example(int(number)) for number in numbers]
        longest = max(len(tokens) for members in found for tokens, _ in members)
        ids = np.zeros((len(numbers), 2, longest), np.int64)
        real = np.zeros(ids.shape, bool)
        targets = np.full(ids.shape, -100, np.int64)
        for row, members in enumerate(found):
            for place, (tokens, learned) in enumerate(members):
                ids[row, place, : len(tokens)] = tokens
                real[row, place, : len(tokens)] = True
                targets[row, place, : len(tokens) - 1] = np.where(learned[1:], tokens[1:], -100)
        known = {"real": torch.from_numpy(real)} | {name: torch.from_numpy(values[numbers]) for name, values in self.known}
        return Batch(numbers, {"input_ids": torch.from_numpy(ids)}, torch.from_numpy(targets), torch.ones(len(numbers)), known)


def side_by_side(batch: Batch) -> dict[str, Tensor]:
    """The inputs with the members of each row as rows of their own: (rows x members, ...)."""
    return {name: tensor.flatten(0, 1) for name, tensor in batch.inputs.items()}
