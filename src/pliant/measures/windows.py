"""What measures of a text have in common: its windows, dealt out in shares of whole documents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from pliant.data import Corpus, Part, Window, packed
from pliant.errors import PliantError, within
from pliant.measures.measure import Measure, Read, Reading, check_loaded, documents
from pliant.measures.shares import share_numbers
from pliant.numbers import Count

if TYPE_CHECKING:
    from pliant.models import Model

LONGEST_WINDOW = 2048
"""The window where none is given and the model's context is longer, in tokens."""

TYPICAL_WINDOW = TYPICAL_SAMPLES = 256
"""Where only the model and the text know: for estimates of cost."""

ReadWindows = Callable[[Sequence[Window], str, "Model"], Sequence[Reading]]
"""Reads windows of a text with this fingerprint off a model."""


class TextMeasure(Measure):
    """Base of measures with a value for each window of a text. Abstract: a subclass writes `read_windows`."""

    data: Corpus = Field(description="The text: a corpus, or its source")
    part: Part = Field("heldout", description="Which part of it: heldout, train or all")
    samples: Count | None = Field(256, ge=1, description="How many windows, evenly spaced over the part; null for all")
    window: Count | None = Field(None, ge=1, description=f"Tokens of a window; by default the model's context, at most {LONGEST_WINDOW}")
    batch_tokens: Count | None = Field(
        None, ge=1, exclude=True, description="Tokens evaluated at once, where the default needs too much memory; the result is the same"
    )

    def read_windows(self, model: Model) -> ReadWindows:
        """What reads windows off `model`, or off what is made of it in place."""
        raise NotImplementedError

    def readings(self, model: Model) -> Sequence[Reading]:
        """As for every measure; a value for each window, weighted by how many tokens it predicts.

        Raises PliantError for a corpus that cannot be read, a window longer than the model's context, a tokenizer that is not
        the model's, and values that are not finite numbers.
        """
        return self.in_shares(model, 1)[0](model)

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
        read = self.read_windows(model)
        return [partial(self._read, read, windows[start:end], text.fingerprint) for start, end in pairwise(starts)]

    def _read(self, read: ReadWindows, windows: Sequence[Window], data: str, model: Model) -> Sequence[Reading]:
        with within(f"{model.checkpoint.address} on {self.data.source}"):
            return read(windows, data, model)

    def length(self, model: Model) -> int:
        """Tokens that a whole window predicts. Raises PliantError when the model's context is shorter."""
        length = self.window or min(model.context, LONGEST_WINDOW)
        if length > model.context:
            raise PliantError(f"window {length} is longer than the model's context of {model.context} tokens")
        return length
