"""The loss of answers, given all that was said before them: nats per token of the assistant's, one value a dialogue.

Idea: the same marks as the objective `answers` trains on, so that what fine-tuning lowers is what is measured.
When to use it: skills of small models, which generate nothing right yet; it moves long before exact matches do.
Cost: one forward pass over the dialogues.
What goes wrong: a dialogue longer than the model's context is cut behind it, and one whose answers are cut to nothing is left out (a
note says how many); the loss depends on the chat template, so compare models of one tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from pliant.data import Part
from pliant.data.table import Table
from pliant.errors import within
from pliant.measures.likelihood import sequence_losses
from pliant.measures.measure import Measure, Read, Reading, check_loaded
from pliant.measures.shares import share_numbers
from pliant.numbers import Count
from pliant.progress import remark

if TYPE_CHECKING:
    from pliant.data.sequences import Sequences
    from pliant.models import Model


class AnswerLoss(Measure):
    """Mean negative log-likelihood per token of answers."""

    data: Table = Field(description="Questions with answers: a table, or its source")
    part: Part = Field("all", description="Which part of it: all, heldout or train")
    samples: Count | None = Field(None, ge=1, description="How many dialogues, evenly spaced over the part; null for all")

    def readings(self, model: Model) -> Sequence[Reading]:
        """The loss of each dialogue's answers, weighted by their tokens.

        Raises PliantError for a table that cannot be read, or in which no answer is left, and for losses that are no numbers.
        """
        return self.in_shares(model, 1)[0](model)

    def in_shares(self, model: Model, of: int) -> Sequence[Read]:
        """As for every measure; the table is read here, once for all shares and for every model that they are read off."""
        check_loaded(model)
        found = self.data.sequences(model.tokenizer, self.part, model.context)
        count = min(len(found), self.samples or len(found))
        read_of = f", of which {count} are read" if count < len(found) else ""
        for what in ("truncated", "left_out"):
            if found.counts.get(what):
                told = f"{found.counts[what]} of all {found.counts['records']} dialogues {what.replace('_', ' ')}"
                remark(f"{self.data.source}: {told}{read_of}")
        chosen = [number * len(found) // count for number in range(count)]
        numbers = share_numbers([found.ids[number] for number in chosen], of)
        starts = np.searchsorted(numbers, np.arange(of + 1))
        return [partial(self._read, found, chosen[start:end]) for start, end in pairwise(starts)]

    def _read(self, found: Sequences, chosen: Sequence[int], model: Model) -> Sequence[Reading]:
        read = [found.tokens_of(number) for number in chosen]
        with within(f"{model.checkpoint.address} on {self.data.source}"):
            losses = sequence_losses(model.network, [tokens for tokens, _ in read])
        answers: Sequence[np.ndarray] = [loss[learned[1:]] for loss, (_, learned) in zip(losses, read, strict=True)]
        reading = Reading(
            metric="answer_loss",
            unit="nats/token",
            samples=[found.ids[number] for number in chosen],
            values=np.array([loss.mean() for loss in answers]),
            weights=np.array([float(len(loss)) for loss in answers]),
            data=found.fingerprint,
        )
        return (reading,)
