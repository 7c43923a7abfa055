"""How far a changed model's predictions are from the unchanged model's, over the whole vocabulary: nats per token.

Idea: both models read the same text in step, and at every token their distributions p (unchanged) and q (changed) of the next one are
compared: KL(p || q), KL(q || p), Jensen-Shannon, and whether the likeliest token is another. A sample is a window of text.
When to use it: changes that should leave a model as it was, such as quantization and pruning; it sees what a loss averages away.
Cost: two forward passes, and a copy of the unchanged weights beside the changed ones while they are read; no logits are kept.
What goes wrong: it says how far, not whether for the worse: fine-tuning is meant to move a model. By itself it compares a model with
itself and finds nothing; see `against`.
Source: Kullback and Leibler 1951; Lin 1991 (Jensen-Shannon, at most log 2); flips as in arXiv 2407.09141.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from functools import partial
from math import log
from typing import TYPE_CHECKING, Any

import numpy as np

from pliant.data import Window
from pliant.errors import PliantError
from pliant.measures.likelihood import NOT_A_NUMBER, batch_budget, batches, check_sequences, token_logits
from pliant.measures.measure import Read, Reading
from pliant.measures.windows import ReadWindows, TextMeasure
from pliant.models.modules import evaluating
from pliant.progress import progress

if TYPE_CHECKING:
    from torch import Tensor

    from pliant.models import Model
    from pliant.statistics import Array

METRICS = {
    "kl": "nats/token",
    "kl_reverse": "nats/token",
    "jensen_shannon": "nats/token",
    "top1_flips": "fraction of tokens",
}
"""With their units."""


class PredictionDivergence(TextMeasure):
    """Divergence of a changed model's predictions from the unchanged model's."""

    kind = "divergence"

    def against(self, model: Model) -> Read:
        """What reads the divergence from `model` as it is now::

        read = PredictionDivergence(data="wikitext.txt").against(base)
        with Quantize(bits=4).applied(base) as changed:
            kl, reverse, jensen_shannon, flips = read(changed)
        """
        return self.in_shares(model, 1)[0]

    def read_windows(self, model: Model) -> ReadWindows:
        """Against `model` as it is now, of which a copy is kept."""
        return partial(self._divergences, copy.deepcopy(model.network))

    def _divergences(self, reference: Any, windows: Sequence[Window], data: str, model: Model) -> Sequence[Reading]:
        tokens = [window.tokens for window in windows]
        found = divergences(reference, model.network, tokens, self.batch_tokens)
        values = np.array([each.mean(axis=0) for each in found])
        ids, weights = [window.id for window in windows], np.array([float(len(each)) for each in found])
        return [Reading(metric, unit, ids, values[:, place], weights, data) for place, (metric, unit) in enumerate(METRICS.items())]

    def tokens(self) -> float:
        """Of both models."""
        return 2 * super().tokens()


def divergences(unchanged: Any, changed: Any, sequences: Sequence[Any], batch_tokens: int | None = None) -> list[Array]:
    """The `METRICS` at every token but the first of each sequence of ids: arrays (length - 1, 4), in float64.

    Raises PliantError for networks of different vocabularies, and as `sequence_losses` does.
    """
    import torch

    if unchanged is changed:  # which cannot answer twice at a time
        unchanged = copy.deepcopy(changed)
    check_sequences(changed, sequences)
    device = next(changed.parameters()).device
    lengths = [len(sequence) - 1 for sequence in sequences]
    found: dict[int, Array] = {}
    with torch.no_grad(), evaluating(unchanged), evaluating(changed), progress("divergence", sum(lengths)) as advance:
        for batch in batches(lengths, batch_tokens or batch_budget(device)):
            ids = torch.zeros((len(batch), lengths[batch[0]]), dtype=torch.long)
            real = torch.zeros(ids.shape, dtype=torch.bool)
            for row, number in enumerate(batch):
                ids[row, : lengths[number]] = torch.from_numpy(np.asarray(sequences[number][:-1], np.int64))
                real[row, : lengths[number]] = True
            ids, real = ids.to(device), real.to(device)
            parts = [_compared(p, q) for p, q in _in_step(token_logits(unchanged, ids, real), token_logits(changed, ids, real))]
            ends = np.cumsum([lengths[number] for number in batch])[:-1]
            found |= zip(batch, np.split(torch.cat(parts).double().cpu().numpy(), ends), strict=True)
            advance(sum(lengths[number] for number in batch))
    return [found[number] for number in range(len(sequences))]


def _in_step(first: Iterator[Tensor], second: Iterator[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Slices of logits of both, of the same places, however each is sliced."""
    import torch

    left = None
    for there in second:
        while left is None or len(left) < len(there):
            more = next(first)
            left = more if left is None else torch.cat([left, more])
        if left.shape[1] != there.shape[1]:
            raise PliantError(f"one model has {left.shape[1]} tokens, the other {there.shape[1]}; their predictions cannot be compared")
        yield left[: len(there)], there
        left = left[len(there) :]


def _compared(unchanged: Tensor, changed: Tensor) -> Tensor:
    """The `METRICS` of logits (places, vocabulary): (places, 4)."""
    import torch

    p, q = (logits if logits.dtype == torch.float64 else logits.float() for logits in (unchanged, changed))
    flips = (p.argmax(-1) != q.argmax(-1)).to(p.dtype)
    p, q = p.log_softmax(-1), q.log_softmax(-1)
    if bool(p.isnan().any()) or bool(q.isnan().any()):
        raise PliantError(NOT_A_NUMBER)
    middle = torch.logaddexp(p, q) - log(2)
    shannon = (_kl(p, middle) + _kl(q, middle)) / 2
    return torch.stack([_kl(p, q), _kl(q, p), shannon.clamp(max=log(2)), flips], dim=-1)


def _kl(p: Tensor, q: Tensor) -> Tensor:
    """sum p log(p / q) from logarithms; what p never says counts nothing, and what rounding leaves below zero is zero."""
    probability = p.exp()
    return (probability * (p - q)).where(probability > 0, 0.0).sum(-1).clamp(min=0.0)
