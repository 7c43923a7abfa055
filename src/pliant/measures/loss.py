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
from typing import TYPE_CHECKING

import numpy as np

from pliant.data import Window
from pliant.measures.likelihood import sequence_losses
from pliant.measures.measure import Reading
from pliant.measures.windows import ReadWindows, TextMeasure

if TYPE_CHECKING:
    from pliant.models import Model


class Loss(TextMeasure):
    """Mean negative log-likelihood per token."""

    def read_windows(self, model: Model) -> ReadWindows:
        """The loss of each window; every model is read by itself."""
        return self._losses

    def _losses(self, windows: Sequence[Window], data: str, model: Model) -> Sequence[Reading]:
        losses = sequence_losses(model.network, [window.tokens for window in windows], self.batch_tokens)
        found = Reading(
            metric="loss",
            unit="nats/token",
            samples=[window.id for window in windows],
            values=np.array([loss.mean() for loss in losses]),
            weights=np.array([float(len(loss)) for loss in losses]),
            data=data,
        )
        return (found,)
