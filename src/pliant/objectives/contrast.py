"""Contrast: a text's embedding is to be nearer to its own positive than to those of the other rows, and than to hard negatives.

Idea: InfoNCE. Hidden states are pooled into one embedding a text; with s the cosine similarities over `temperature`, row i costs
-log(exp s_ii / sum_j exp s_ij), where j runs over the positives and hard negatives of all rows that go through the network together.
`symmetric` takes the mean of that and of the same from positives back to queries.
When to use it: embeddings for search and comparison, of encoders and causal models alike; more rows at once are harder and better.
Cost: as many sequences a row as an example has texts; nothing of the vocabulary.
What goes wrong: rows are not independent. Negatives come from one forward pass: `batch` decides how many there are, `accumulate` adds none,
and a method that passes rows one at a time leaves nothing to tell them from (refused, unless they have hard negatives). The same
text twice in a batch is told from itself. In a causal model early tokens know little of the text: pool the last token, or train long.
Source: arXiv 1807.03748; in-batch and hard negatives as in sentence-transformers' MultipleNegativesRankingLoss (scale 20 = 1 / 0.05).
"""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pliant.data import Part
from pliant.data.sequences import UNCUT, Sequences
from pliant.data.triplets import Triplets
from pliant.errors import PliantError
from pliant.objectives.objective import Batch, Losses, Objective
from pliant.objectives.sequence_examples import SequenceExamples, padded

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pliant.data import Corpus, Tokenizer
    from pliant.models import Model

Pooling = Literal["mean", "last"]


class Contrast(Objective):
    """Embed a text near to what belongs to it, and away from the rest of the batch."""

    unit = "nats"
    task = ""
    rows_together = True
    data: Triplets = Field(description="Texts that belong together, and hard negatives where there are any: a table, or its source")
    part: Part = Field(default="train", description="Which part of it: train, heldout or all")
    temperature: float = Field(default=0.05, gt=0, description="What similarities are divided by")
    pooling: Pooling = Field(default="mean", description="mean: of all tokens; last: of the last token, for causal models")
    symmetric: bool = Field(default=False, description="Also tell each positive's query from the other queries")

    @classmethod
    def found_in(cls, corpus: Corpus, part: Part) -> Contrast | None:
        """Where the columns are of a query or an anchor and its positive, or of two sentences."""
        data = Triplets.of(corpus)
        return None if data is None else cls(data=data, part=part)

    def data_for(self, tokenizer: Tokenizer) -> Sequences:
        """The texts, uncut."""
        return self.data.sequences(tokenizer, self.part, UNCUT)

    def examples(self, model: Model, length: int | None) -> Contrasted:
        """The texts, cut to `length` tokens. Raises PliantError for a length beyond the model's context."""
        return Contrasted(self.data.sequences(model.tokenizer, self.part, model.row_length(length) - 1))

    def texts_of_row(self) -> int:
        """A query, its positive, and hard negatives where there are any."""
        return self.data.texts_of_example()

    def told(self) -> str:
        """The columns that were found."""
        needs = " and ".join(self.data.form().needs)
        return f"a table of {needs}; each is to be nearest to its own among the rows of a forward pass (batch, not accumulate)"

    def losses(self, network: nn.Module, batch: Batch) -> Losses:
        """`batch.inputs` (rows, texts, length) hold the query, its positive, and negatives; `targets` (rows, texts) which there are.

        Raises PliantError for a single row without hard negatives, which has nothing to be told from.
        """
        import torch
        from torch.nn.functional import cross_entropy, normalize

        real = batch.targets.bool()
        if int(real[:, 1:].sum()) < 2:
            raise PliantError(
                "contrast tells rows from each other, and one row went alone: give a batch of two at least, or hard negatives"
            )
        hidden = trunk_states(network, {name: tensor[real] for name, tensor in batch.inputs.items()})
        vectors = pooled(hidden, batch.inputs["attention_mask"][real], self.pooling)
        vectors = normalize(vectors if vectors.dtype == torch.float64 else vectors.float(), dim=-1)
        embedded = vectors.new_zeros((*real.shape, vectors.shape[-1])).index_put((real,), vectors)
        queries, others = embedded[:, 0], embedded[:, 1:].transpose(0, 1)[real[:, 1:].T]  # all positives come first
        scores = queries @ others.T / self.temperature
        own = torch.arange(len(batch), device=scores.device)
        costs = cross_entropy(scores, own, reduction="none")
        if self.symmetric:
            costs = (costs + cross_entropy(scores[:, : len(batch)].T, own, reduction="none")) / 2
        return Losses(costs.to(batch.weights.dtype), batch.weights, embedded)


def trunk_states(network: Any, inputs: dict[str, Tensor]) -> Tensor:
    """What stands before a network's head: (rows, length, width). Raises PliantError for a network that tells no hidden states."""
    plain = {"use_cache": False} if hasattr(getattr(network, "config", None), "use_cache") else {}
    output = getattr(network, "base_model", network)(**inputs, **plain)
    hidden = getattr(output, "last_hidden_state", None)
    if hidden is None:
        raise PliantError(f"{type(network).__name__} tells no hidden states of a text, so it embeds none")
    return hidden


def pooled(hidden: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """One embedding a row, (rows, width), from hidden states (rows, length, width); `mask` (rows, length) is 1 where a token is real."""
    import torch

    if pooling == "mean":
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * weights).sum(1) / weights.sum(1)
    last = (mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)).argmax(1)
    return hidden[torch.arange(len(hidden), device=hidden.device), last]


class Contrasted(SequenceExamples):
    """Groups of texts as token sequences."""

    @property
    def unique(self) -> int:
        """Tokens of texts."""
        return int(self.sequences.counts["tokens"])

    @property
    def chance(self) -> float:
        """Of telling nothing apart in a batch of all rows; the loss of smaller ones is lower."""
        return log(len(self))

    def rows(self, numbers: NDArray[np.int64]) -> Batch:
        """These groups, padded on the right; texts that a row does not have are zeros."""
        import torch

        ids, real, _ = map(torch.from_numpy, padded([self.sequences.example(int(number)) for number in numbers]))
        return Batch(numbers, {"input_ids": ids, "attention_mask": real.long()}, real.any(-1), torch.ones(len(numbers)))
