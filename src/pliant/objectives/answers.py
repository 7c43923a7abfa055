"""Answers: predict the assistant's words from all that was said before them, and nothing else. What chat models are fine-tuned on.

Idea: the next-token loss on the tokens of answers alone, each example weighing as many tokens as its answers have. Questions are
read, not learned.
When to use it: tables of questions and answers, instructions, prompts and completions, chats; see `pliant.data.dialogues`.
Cost: as next token over the same tokens; rows are padded to the longest of their batch.
What goes wrong: answers beyond the length are cut, and an answer of which nothing is left is left out (both are counted); a model
without a chat template learns the plain one, and has to be asked in it.
Source: completion-only loss as in transformers and TRL (labels of -100 on everything else).
"""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pliant.data import Part
from pliant.data.sequences import UNCUT, Sequences
from pliant.data.table import Table
from pliant.objectives.next_token import token_losses
from pliant.objectives.objective import Batch, Losses, Objective
from pliant.objectives.padding import by_length
from pliant.objectives.sequence_examples import SequenceExamples, padded

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pliant.data import Corpus, Tokenizer
    from pliant.models import Model


class Answers(Objective):
    """Predict the tokens of answers."""

    unit = "nats/token"
    measured_by = "answer_loss"
    data: Table = Field(description="Questions with answers: a table, or its source")
    part: Part = Field(default="train", description="Which part of it: train, heldout or all")

    @classmethod
    def found_in(cls, corpus: Corpus, part: Part) -> Answers | None:
        """Where the columns are of questions and answers."""
        data = Table.of(corpus)
        return None if data is None else cls(data=data, part=part)

    def data_for(self, tokenizer: Tokenizer) -> Sequences:
        """The dialogues, uncut."""
        return self.data.sequences(tokenizer, self.part, UNCUT)

    def examples(self, model: Model, length: int | None) -> AnswerExamples:
        """The dialogues, cut to `length` predicted tokens. Raises PliantError for a length beyond the model's context."""
        return AnswerExamples(self.data.sequences(model.tokenizer, self.part, model.row_length(length)))

    def told(self) -> str:
        """The columns that were found."""
        return f"a table of {' and '.join(self.data.form().needs)}; answers are learned, nothing else"

    def losses(self, network: nn.Module, batch: Batch) -> Losses:
        """`batch.targets` (rows, length) are the next tokens where they are an answer's, and -100 elsewhere."""
        import torch

        totals, outputs = [], []
        groups = by_length(batch.targets >= 0, sum(parameter.numel() for parameter in network.parameters()))
        for rows, length in groups:
            inputs, targets = {name: tensor[rows, :length] for name, tensor in batch.inputs.items()}, batch.targets[rows, :length]
            outputs.append(network(**inputs, use_cache=False))
            totals.append(token_losses(outputs[-1].logits, targets.clamp(min=0)).where(targets >= 0, 0.0).sum(-1))
        order = torch.cat([rows for rows, _ in groups]).argsort()
        return Losses(torch.cat(totals)[order], batch.weights, outputs)

    def distributions(self, losses: Losses, batch: Batch) -> tuple[Tensor, Tensor]:
        """Those of answers' tokens."""
        import torch

        learned = batch.targets >= 0
        groups = by_length(learned, 2**62 if len(losses.output) > 1 else 0)  # as they were made in `losses`
        found = [output.logits[learned[rows, :length]].float() for output, (rows, length) in zip(losses.output, groups, strict=True)]
        return torch.cat(found), torch.cat([rows[learned[rows, :length].nonzero()[:, 0]] for rows, length in groups])


class AnswerExamples(SequenceExamples):
    """Dialogues as token sequences."""

    @property
    def chance(self) -> float:
        """Of a uniform guess over the vocabulary."""
        return log(self.sequences.vocab_size)

    def __len__(self) -> int:
        return len(self.sequences)

    def rows(self, numbers: NDArray[np.int64]) -> Batch:
        """These dialogues, padded on the right, where a causal model cannot look."""
        import torch

        ids, _, targets = (part[:, 0, :-1] for part in padded([[self.sequences.tokens_of(int(number))] for number in numbers]))
        weights = torch.from_numpy((targets >= 0).sum(-1).astype(np.float32))
        return Batch(numbers, {"input_ids": torch.from_numpy(ids)}, torch.from_numpy(targets), weights)
