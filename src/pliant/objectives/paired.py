"""Examples that are pairs of sequences: the chosen answer and the rejected one, side by side in a row."""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pliant.objectives.objective import Batch
from pliant.objectives.sequence_examples import SequenceExamples, padded

if TYPE_CHECKING:
    from torch import Tensor

    from pliant.data import Part
    from pliant.data.preferences import Preferences
    from pliant.models import Model


@dataclass(frozen=True)
class Pairs(SequenceExamples):
    """Pairs of dialogues as token sequences."""

    chance: float
    """The loss of preferring neither."""
    known: tuple[tuple[str, NDArray[np.float64]], ...] = ()
    """What else is known of each pair (pairs, ...), by name."""

    @classmethod
    def of(cls, data: Preferences, model: Model, part: Part, length: int | None) -> Pairs:
        """Those of a part, cut to `length` predicted tokens each. Raises PliantError for a length beyond the model's context."""
        return cls(data.sequences(model.tokenizer, part, model.row_length(length)), log(2))

    def rows(self, numbers: NDArray[np.int64]) -> Batch:
        """These pairs: `input_ids` (rows, 2, length), padded on the right, and as targets (rows, 2, length) the next tokens.

        Targets are -100 where a token is not an answer's; `real` says which inputs are no padding.
        """
        import torch

        ids, real, targets = map(torch.from_numpy, padded([self.sequences.example(int(number)) for number in numbers]))
        known = {"real": real} | {name: torch.from_numpy(values[numbers]) for name, values in self.known}
        return Batch(numbers, {"input_ids": ids}, targets, torch.ones(len(numbers)), known)


def side_by_side(batch: Batch) -> dict[str, Tensor]:
    """The inputs with the members of each row as rows of their own: (rows x members, ...)."""
    return {name: tensor.flatten(0, 1) for name, tensor in batch.inputs.items()}
