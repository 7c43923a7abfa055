"""Examples of token sequences, one or several each, of which every one comes once an epoch; and how they are padded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pliant.data.order import order
from pliant.data.sequences import Sequences
from pliant.objectives.objective import Batch

Example = Sequence[tuple[NDArray[np.int64], NDArray[np.bool_]]]
"""Ids and marks of its sequences."""


@dataclass(frozen=True)
class SequenceExamples:
    """Base of examples of token sequences. Abstract: a subclass writes `rows`, and says its `chance`."""

    sequences: Sequences

    @property
    def fingerprint(self) -> str:
        """Of tokens and marks."""
        return self.sequences.fingerprint

    @property
    def unique(self) -> int:
        """Tokens of answers."""
        return int(self.sequences.counts["answer_tokens"])

    @property
    def row_tokens(self) -> float:
        """Of an example, on average."""
        return self.unique / len(self)

    def __len__(self) -> int:
        return len(self.sequences.examples) - 1

    def batch(self, step: int, rows: int, seed: int) -> Batch:
        """The next rows of the epoch."""
        return self.rows(order(len(self), step, rows, seed))

    def rows(self, numbers: NDArray[np.int64]) -> Batch:
        """These examples, padded on the right."""
        raise NotImplementedError


def padded(examples: Sequence[Example]) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
    """Ids, which of them are no padding, and the next token where it is learned, -100 elsewhere: (examples, sequences, longest)."""
    shape = len(examples), max(map(len, examples)), max(len(tokens) for example in examples for tokens, _ in example)
    ids, real, targets = np.zeros(shape, np.int64), np.zeros(shape, bool), np.full(shape, -100, np.int64)
    for row, example in enumerate(examples):
        for place, (tokens, learned) in enumerate(example):
            ids[row, place, : len(tokens)] = tokens
            real[row, place, : len(tokens)] = True
            targets[row, place, : len(tokens) - 1] = np.where(learned[1:], tokens[1:], -100)
    return ids, real, targets
