"""The loss of a masked language model on a corpus: nats per hidden token, one value per window of text.

Idea: every window has its own hidden tokens, fixed by its id, so that two models, or one before and after a change, are asked for the same
tokens of the same text. They are hidden as in training (see `pliant.objectives.masking`).
When to use it: models of the objective `masked`; generic loss on the pretraining text's held-out part, task loss on another corpus.
Cost: one forward pass over samples x window tokens, of which a fraction is predicted: errors are larger than of the next token's loss.
What goes wrong: it is no likelihood of text; fractions, windows and tokenizers must agree for losses to compare.
Source: arXiv 1810.04805.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from pliant.data import Corpus, Part, packed
from pliant.errors import PliantError
from pliant.measures.likelihood import NOT_A_NUMBER
from pliant.measures.measure import Measure, Reading, check_loaded
from pliant.models.checks import check_ids
from pliant.models.modules import evaluating, token_embedding
from pliant.numbers import Count
from pliant.objectives import Batch, Masked
from pliant.objectives.masking import FRACTION, Frame, draws
from pliant.progress import progress

if TYPE_CHECKING:
    from pliant.data import Window
    from pliant.models import Model

LONGEST_WINDOW = 512
"""The window where none is given and the model's context is longer, in tokens."""

TYPICAL_SAMPLES = TYPICAL_WINDOW = 256


class MaskedLoss(Measure):
    """Mean negative log-likelihood per hidden token."""

    data: Corpus = Field(description="The text: a corpus, or its source")
    part: Part = Field("heldout", description="Which part of it: heldout, train or all")
    samples: Count | None = Field(256, ge=1, description="How many windows, evenly spaced over the part; null for all")
    window: Count | None = Field(None, ge=3, description=f"Tokens of a window; by default the model's context, at most {LONGEST_WINDOW}")
    fraction: float = Field(FRACTION, gt=0, le=1, description="Share of the tokens that are predicted")
    seed: int = Field(0, ge=0, description="Which tokens are hidden")
    batch: int = Field(16, ge=1, exclude=True, description="Windows that go through the network together; the result is the same")

    def __call__(self, model: Model) -> Reading:
        """The loss of each window, weighted by how many tokens it predicts.

        Raises PliantError for a model that is no masked language model, a corpus that cannot be read, a window longer than the model's
        context, a tokenizer that is not the model's, and a loss that is not a finite number.
        """
        check_loaded(model)
        if model.task.name != Masked.task:
            raise PliantError(f"{model.checkpoint.address} is {model.task.called}; masked_loss is read off a masked language model")
        frame, length = Frame.of(model), self.window or min(model.context, LONGEST_WINDOW)
        if length > model.context:
            raise PliantError(f"window {length} is longer than the model's context of {model.context} tokens")
        text = packed(self.data, model.tokenizer, self.part)
        windows = text.windows(max(1, length - frame.around - 1), self.samples)
        losses, weights = self._losses(model, frame, windows)
        if not np.isfinite(losses).all():
            raise PliantError(NOT_A_NUMBER).within(f"{model.checkpoint.address} on {self.data.source}")
        return Reading("masked_loss", "nats/token", [window.id for window in windows], losses / weights, weights, text.fingerprint)

    def _losses(self, model: Model, frame: Frame, windows: list[Window]) -> tuple[np.ndarray, np.ndarray]:
        """Of each window the sum over its hidden tokens, and how many they are. Windows of one length go through the network together."""
        import torch

        check_ids(token_embedding(model.network), max(int(window.tokens.max()) for window in windows))
        objective = Masked(data=self.data)
        losses, weights = np.zeros(len(windows)), np.zeros(len(windows))
        lengths = np.array([len(window.tokens) for window in windows])
        with torch.inference_mode(), evaluating(model.network), progress("masked loss", len(windows)) as advance:
            for length in np.unique(lengths):
                same = np.flatnonzero(lengths == length)
                for start in range(0, len(same), self.batch):
                    numbers = same[start : start + self.batch]
                    batch = self._batch(frame, [windows[number] for number in numbers], numbers).to(model.device)
                    losses[numbers] = objective.losses(model.network, batch).totals.double().cpu().numpy()
                    weights[numbers] = batch.weights.cpu().numpy()
                    advance(len(numbers))
        return losses, weights

    def _batch(self, frame: Frame, windows: list[Window], numbers: np.ndarray) -> Batch:
        import torch

        text = np.stack([window.tokens for window in windows]).astype(np.int64)
        drawn = [draws(self.seed, _counter(window.id), 1, text.shape[1])[:, 0] for window in windows]
        inputs, targets = frame.hidden(text, np.stack(drawn, 1), self.fraction)
        weights = torch.from_numpy((targets >= 0).sum(-1).astype(np.float32))
        return Batch(numbers, {"input_ids": torch.from_numpy(inputs)}, torch.from_numpy(targets), weights)

    def tokens(self) -> float:
        """Windows times their length."""
        return float((self.samples or TYPICAL_SAMPLES) * (self.window or TYPICAL_WINDOW))


def _counter(window: str) -> int:
    """Which draws a window has, by its id."""
    import hashlib

    return int.from_bytes(hashlib.sha256(window.encode()).digest()[:7], "big")
