"""The language-model loss on a corpus: nats per token, one value per window of text.

Idea: every token but a document's first is predicted once, from at most `window` tokens before it. Windows have stable ids, so
that two models, or one model before and after a change, are compared on the same text pair by pair.
When to use it: generic loss (the pretraining corpus's held-out part) and task loss (another corpus's) of any causal model.
Cost: one forward pass over samples x window tokens; see `pliant.measures.likelihood` for what is saved.
What goes wrong: losses of different tokenizers or windows are not comparable (nats per *token*, given at most so much context);
windows of one document hang together, so the standard error counts documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from pliant.data import Corpus, Part, Window, packed
from pliant.errors import PliantError
from pliant.measures.likelihood import sequence_losses
from pliant.measures.measure import Measure, Read, Reading, check_loaded, documents
from pliant.measures.shares import share_numbers
from pliant.numbers import Count

if TYPE_CHECKING:
    from pliant.models import Model

LONGEST_WINDOW = 2048
"""The window where none is given and the model's context is longer, in tokens."""

TYPICAL_WINDOW = TYPICAL_SAMPLES = 256
"""Where only the model and the text know: for estimates of cost."""


class Loss(Measure):
    """Mean negative log-likelihood per token."""

    data: Corpus = Field(description="The text: a corpus, or its source")
    part: Part = Field("heldout", description="Which part of it: heldout, train or all")
    samples: Count | None = Field(256, ge=1, description="How many windows, evenly spaced over the part; null for all")
    window: Count | None = Field(None, ge=1, description=f"Tokens of a window; by default the model's context, at most {LONGEST_WINDOW}")
    batch_tokens: Count | None = Field(
        None, ge=1, exclude=True, description="Tokens evaluated at once, where the default needs too much memory; the result is the same"
    )

    def __call__(self, model: Model) -> Reading:
        """The loss of each window, weighted by how many tokens it predicts.

        Raises PliantError for a corpus that cannot be read, a window longer than the model's context, a tokenizer that is not
        the model's, and a loss that is not a finite number.
        """
        return self.in_shares(model, 1)[0](model)[0]

    def tokens(self) -> float:
        """Windows times their length."""
        return float((self.samples or TYPICAL_SAMPLES) * (self.window or TYPICAL_WINDOW))

    def in_shares(self, model: Model, of: int) -> Sequence[Read]:
        """As for every measure. The text is read here, once for all shares and for every model that they are read off."""
        check_loaded(model)
        text = packed(self.data, model.tokenizer, self.part)
        windows = text.windows(self.length(model), self.samples)
        numbers = share_numbers(documents([window.id for window in windows]), of)
        starts = np.searchsorted(numbers, np.arange(of + 1))
        return [partial(self._read, windows[start:end], text.fingerprint) for start, end in pairwise(starts)]

    def _read(self, windows: Sequence[Window], data: str, model: Model) -> tuple[Reading]:
        try:
            losses = sequence_losses(model.network, [window.tokens for window in windows], self.batch_tokens)
        except PliantError as error:
            raise error.within(f"{model.checkpoint.address} on {self.data.source}") from None
        found = Reading(
            metric="loss",
            unit="nats/token",
            samples=[window.id for window in windows],
            values=np.array([loss.mean() for loss in losses]),
            weights=np.array([float(len(loss)) for loss in losses]),
            data=data,
        )
        return (found,)

    def length(self, model: Model) -> int:
        """Tokens that a whole window predicts. Raises PliantError when the model's context is shorter."""
        length = self.window or min(model.context, LONGEST_WINDOW)
        if length > model.context:
            raise PliantError(f"window {length} is longer than the model's context of {model.context} tokens")
        return length
