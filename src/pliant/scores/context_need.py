"""How much an answer needs its context: what the model loses where the context is taken away.

Idea: the loss of the answer's tokens without the context, less that with it. Where both are alike the model knew the answer already, and
learning it teaches to look away from contexts; such examples are left out. `value: without` is the loss without the context alone, by
which the paper leaves out the lowest quarter.
When to use it: instructions with contexts, before fine-tuning (`select: {scores: FILE, keep: 0.75, order: highest}`).
Cost: two forward passes over the examples that have a context; the others have no score, and are counted.
What goes wrong: the base model is asked in the plain form or in its chat template; where it does not understand that, both losses are
high. A context that is cut at the model's context takes tokens of the answer with it; both losses are of those that are left.
Source: arXiv 2410.10796.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from pliant.data import Part
from pliant.data.contexts import Contexts
from pliant.data.sequences import Sequences
from pliant.errors import PliantError
from pliant.measures.likelihood import sequence_losses
from pliant.objectives.answers import AnswerExamples
from pliant.progress import remark
from pliant.scores.perplexity import PART
from pliant.scores.score import Rows, Score, Scoring, check_readers
from pliant.spec import Spec

if TYPE_CHECKING:
    from pliant.models import Model
    from pliant.objectives import Examples


class WithContext(Spec):
    """Answers with their contexts, and without."""

    data: Contexts = Field(description="Questions with a context, and answers: a table, or its source")
    part: Part = Field("train", description="Which part of it: train, heldout or all")

    def examples(self, model: Model, length: int | None) -> ContextExamples:
        """Both forms of each, cut to `length` predicted tokens. Raises PliantError for a length beyond the model's context."""
        found = self.data.sequences(model.tokenizer, self.part, model.row_length(length))
        if found.counts.get("left_out"):
            remark(
                f"{self.data.source}: {found.counts['left_out']} of {found.counts['records']} examples have no context, or no room for it"
            )
        return ContextExamples(found)


@dataclass(frozen=True)
class ContextExamples(AnswerExamples):
    """Two sequences for each example: with its context, and without."""


class ContextNeed(Score):
    """Loss of an answer without its context, less that with it, averaged over models."""

    unit = "nats/token"
    better = "higher"
    reads = "answers"
    value: Literal["difference", "without"] = Field(
        "difference", description="What counts: the loss without the context less that with it, or the loss without it alone"
    )

    @classmethod
    def source(cls, form: Any, where: str) -> WithContext:
        """Of a table with contexts."""
        return WithContext.parse(form, where)

    def scoring(self, models: Sequence[Model], examples: Examples) -> Scoring:
        """One value per example that has a context.

        Raises PliantError for examples without contexts, no model, and losses that are not finite numbers.
        """
        if not isinstance(examples, ContextExamples):
            raise PliantError(f"context_need scores answers with contexts, not {type(examples).__name__}")
        if not models:
            raise PliantError("context_need needs a model: the one that is to be fine-tuned")
        check_readers(models)
        found = examples.sequences
        starts = np.unique(np.append(np.searchsorted(found.offsets[::2], np.arange(0, int(found.offsets[-1]), PART)), len(found) // 2))
        starts = np.unique(np.append(0, starts))
        return Scoring(starts, np.diff(found.offsets[2 * starts]), lambda numbers: self._rows(models, found, numbers), "")

    def _rows(self, models: Sequence[Model], found: Sequences, numbers: range) -> Rows:
        read = [found.tokens_of(sequence) for sequence in range(2 * numbers.start, 2 * numbers.stop)]
        values, counts = np.zeros(len(numbers)), np.zeros(len(numbers), np.int64)
        for model in models:
            losses = sequence_losses(model.network, [tokens for tokens, _ in read])
            answers = [loss[marks[1:]] for loss, (_, marks) in zip(losses, read, strict=True)]
            for place in range(len(numbers)):
                given, bare = answers[2 * place : 2 * place + 2]
                counts[place] = min(len(given), len(bare))
                without, with_it = bare[: counts[place]].mean(), given[: counts[place]].mean()
                values[place] += (without - with_it if self.value == "difference" else without) / len(models)
        return Rows([found.ids[2 * number] for number in numbers], values, counts)
