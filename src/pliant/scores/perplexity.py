"""How surprising a document is to a model: the mean negative log-likelihood of its tokens, the logarithm of its perplexity.

Idea: a small reference model, trained on text that is not to be pruned, reads every document; those of low, middle or high
perplexity are kept (`pliant` ranks by the logarithm, which orders alike). Every token but a document's first is predicted once,
from at most `window` tokens before it.
When to use it: to prune a pretraining corpus at a fixed budget; which part to keep depends on the corpus, so try several.
Cost: one forward pass over the corpus for each model; memory for a quarter of a million tokens.
What goes wrong: documents that the model was trained on look easier than they are; short documents have noisy scores; documents of
one token have none, and are counted. Perplexities of other tokenizers or windows do not compare. Never judge a selection by the
loss on the unpruned corpus.
Source: arXiv 2405.20541.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pliant.data import Packed
from pliant.errors import PliantError, within
from pliant.measures.likelihood import sequence_losses
from pliant.measures.measure import documents
from pliant.measures.windows import LONGEST_WINDOW
from pliant.numbers import Count
from pliant.objectives.next_token import Crops
from pliant.scores.score import Rows, Score, Scoring, check_readers

if TYPE_CHECKING:
    from pliant.models import Model
    from pliant.objectives import Examples


PART = 1 << 18
"""Tokens that are scored before they are written down."""


class Perplexity(Score):
    """Mean negative log-likelihood per token of each document, averaged over models."""

    unit = "nats/token"
    window: Count | None = Field(
        None,
        ge=1,
        description=f"Tokens that are predicted at once; by default the models' shortest context, at most {LONGEST_WINDOW}",
    )

    def scoring(self, models: Sequence[Model], examples: Examples) -> Scoring:
        """One value per document of the text that `examples` are crops of.

        Raises PliantError for examples that are no text, no model, a window longer than a model's context, a tokenizer that is not
        a model's, and a loss that is not a finite number.
        """
        if not isinstance(examples, Crops):
            raise PliantError(f"perplexity scores the text of the objective next_token, not {type(examples).__name__}")
        length, text = self._length(models), examples.text
        if not isinstance(text, Packed):
            raise PliantError("perplexity scores the documents of one corpus, not a mixture; score its sources one by one")
        starts = parts(text.offsets)
        work = np.diff(text.offsets[starts])
        return Scoring(starts, work, lambda numbers: _rows(models, text, numbers, length), text.name, text.single())

    def _length(self, models: Sequence[Model]) -> int:
        if not models:
            raise PliantError("perplexity needs a model to read the text with")
        check_readers(models)
        context = min(model.context for model in models)
        if self.window is not None and self.window > context:
            raise PliantError(f"window {self.window} is longer than the model's context of {context} tokens")
        return self.window or min(context, LONGEST_WINDOW)


def _rows(models: Sequence[Model], text: Packed, numbers: range, length: int) -> Rows:
    windows = text.windows_of(numbers, length)
    names = documents([window.id for window in windows])
    ids = list(dict.fromkeys(names))
    places = dict(zip(ids, range(len(ids)), strict=True))
    owners = np.array([places[name] for name in names], np.int64)
    tokens = np.bincount(owners, [len(window.tokens) - 1 for window in windows], len(ids)).astype(np.int64)
    values = np.zeros(len(ids))
    for model in models:
        with within(f"{model.checkpoint.address} on {text.name}"):
            losses = sequence_losses(model.network, [window.tokens for window in windows])
        values += np.bincount(owners, [loss.sum() for loss in losses], len(ids)) / tokens / len(models)
    return Rows(ids, values, tokens)


def parts(offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where parts of about `PART` tokens of whole documents begin, given where documents do; and how many documents there are."""
    count = len(offsets) - 1
    cuts = np.searchsorted(offsets[:-1], np.arange(0, int(offsets[-1]), PART))
    return np.unique(np.append(cuts, count)).astype(np.int64)
