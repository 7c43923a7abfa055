"""Multiple choice: which of several answers the model finds likeliest behind a question.

Idea: every answer is scored by its log-likelihood given the question, in the field's three ways: as it is, by its characters
and by its tokens. A sample is a question; its value is 1 where the likeliest answer is the right one. Beside the accuracies stands
the probability of the right answer among the answers, which moves long before accuracy does.
When to use it: knowledge and understanding after a change, on the evaluation sets the field shares.
Cost: one forward pass over every question with each of its answers; questions are tokenised once for all models of one tokenizer.
What goes wrong: accuracy is coarse, so small effects take thousands of questions (see the minimum detectable effect); scores depend
on the wording (`pliant.data.choices`); questions longer than the context lose their beginning.
Source: the harness of the field: `acc` is the likeliest answer, `acc_norm` by characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pliant.data.choices import ChoiceQuestion, QuestionSet
from pliant.errors import PliantError
from pliant.measures.likelihood import sequence_losses
from pliant.measures.measure import Measure, Reading, check_loaded
from pliant.numbers import Count
from pliant.statistics import Array

if TYPE_CHECKING:
    from pliant.data import Tokenizer
    from pliant.models import Model


class Choice(Measure):
    """Accuracy in choosing among given answers by likelihood."""

    data: QuestionSet = Field(description="Questions with answers to choose from: a set, or its source")
    samples: Count | None = Field(None, ge=1, description="How many questions, from the first; null for all")

    def readings(self, model: Model) -> Sequence[Reading]:
        """Accuracy as it is, by characters and by tokens, and the right answer's probability; one value a question.

        Raises PliantError for a set that cannot be read, an answer longer than the model's context, and losses that are no numbers.
        """
        check_loaded(model)
        questions = list(islice(self.data.questions(), self.samples))
        scored = _scored(model, questions)
        ids = _unrepeated([question.id for question in questions])
        data = self.data.fingerprint()
        found = {
            "accuracy": [_right(scores.totals, question) for scores, question in zip(scored, questions, strict=True)],
            "accuracy_per_character": [_right(scores.totals / scores.characters, q) for scores, q in zip(scored, questions, strict=True)],
            "accuracy_per_token": [_right(scores.totals / scores.tokens, q) for scores, q in zip(scored, questions, strict=True)],
            "probability": [_probability(scores.totals, question) for scores, question in zip(scored, questions, strict=True)],
        }
        ones = np.ones(len(questions))
        units = {"probability": "probability"}
        return [
            Reading(metric, units.get(metric, "fraction right"), ids, np.array(values, float), ones, data, better="higher")
            for metric, values in found.items()
        ]

    def tokens(self) -> float:
        """About a hundred for each of four answers."""
        return 400.0 * (self.samples or 1000)


@dataclass(frozen=True)
class AnswerScores:
    """Of each answer to one question: log-likelihood in nats, characters and tokens."""

    totals: Array
    characters: Array
    tokens: Array


def _right(values: Array, question: ChoiceQuestion) -> float:
    """Ties go to the first answer."""
    return float(np.argmax(values) == question.answer)


def _probability(totals: Array, question: ChoiceQuestion) -> float:
    likely = np.exp(totals - totals.max())
    return float(likely[question.answer] / likely.sum())


def _scored(model: Model, questions: Sequence[ChoiceQuestion]) -> list[AnswerScores]:
    pairs = [(question.context, answer) for question in questions for answer in question.continuations]
    found = iter(continuation_likelihoods(model, pairs))
    answer: list[AnswerScores] = []
    for question in questions:
        parts = [next(found) for _ in question.continuations]
        characters = np.array([float(len(text) - 1) for text in question.continuations])  # the space that joins them is none of theirs
        answer.append(AnswerScores(np.array([part.sum() for part in parts]), characters, np.array([float(len(part)) for part in parts])))
    return answer


def continuation_likelihoods(model: Model, pairs: Sequence[tuple[str, str]]) -> list[Array]:
    """log p of each token of each continuation, behind its context; a context is cut on the left where both are too long.

    Raises PliantError for a continuation that is no token, or longer than the model's context.
    """
    encoded = _encoded(model.tokenizer, pairs)
    sequences: list[NDArray[np.int32]] = []
    for whole, count in encoded:
        if not 0 < count <= model.context:
            raise PliantError(f"an answer of {count} tokens cannot be scored in a context of {model.context}")
        sequences.append(whole[-(model.context + 1) :])
    losses = sequence_losses(model.network, sequences)
    return [-loss[-count:] for loss, (_, count) in zip(losses, encoded, strict=True)]


def _encoded(tokenizer: Tokenizer, pairs: Sequence[tuple[str, str]]) -> list[tuple[NDArray[np.int32], int]]:
    """Tokens of context and continuation together, and how many of them are the continuation's.

    White space at the end of a context goes over to its continuation, as tokenizers join it there. Where a tokenizer puts a token
    before every text, it stands first; without a context, the beginning or end token does, since something must.
    """
    moved = [(context.rstrip(), context[len(context.rstrip()) :] + continuation) for context, continuation in pairs]
    contexts = tokenizer.encode([context for context, _ in moved])
    wholes = tokenizer.encode([context + continuation for context, continuation in moved])
    begin = tokenizer.beginning_id
    found: list[tuple[NDArray[np.int32], int]] = []
    for context, whole in zip(contexts, wholes, strict=True):
        count = len(whole) - len(context)
        first = begin if begin is not None else None if len(context) else tokenizer.end_id or 0
        found.append((whole if first is None else np.concatenate([np.array([first], np.int32), whole]), count))
    return found


def _unrepeated(ids: Sequence[str]) -> list[str]:
    """Questions that a set repeats are samples of their own, told apart by their turn."""
    seen: dict[str, int] = {}
    found: list[str] = []
    for name in ids:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name}:{seen[name]}")
    return found
