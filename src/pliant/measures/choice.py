"""Multiple choice: which of several answers the model finds likeliest behind a question.

Idea: every answer is scored by its log-likelihood given the question: as it is, by its characters, by its tokens, and by how much the
question raises it (pointwise mutual information: less what the answer has without a question). A sample is a question; its value is 1
where the best answer is the right one. Beside the accuracies stands the probability of the right answer among the answers, which moves
long before accuracy does.
When to use it: knowledge and understanding after a change, on the evaluation sets the field shares.
Cost: one forward pass over what is different in all questions, their answers, and the answers by themselves (`pliant.measures.branches`).
What goes wrong: accuracy is coarse, so small effects take thousands of questions (see the minimum detectable effect); scores depend
on the wording (`pliant.data.choices`); questions longer than the context lose their beginning.
Source: the harness of the field: `accuracy` is its `acc`, per character its `acc_norm`, unconditional its `acc_mutual_info`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pliant.data.choices import ChoiceQuestion, QuestionSet
from pliant.errors import PliantError
from pliant.measures.branches import Ending, ending_losses
from pliant.measures.measure import Measure, Reading, check_loaded
from pliant.measures.predictions import Predictions
from pliant.numbers import Count
from pliant.spec import nearest
from pliant.statistics import Array

if TYPE_CHECKING:
    from pliant.data import Tokenizer
    from pliant.models import Model


class Choice(Measure):
    """Accuracy in choosing among given answers by likelihood."""

    data: QuestionSet = Field(description="Questions with answers to choose from: a set, or its source")
    samples: Count | None = Field(None, ge=1, description="How many questions, from the first; null for all")

    def readings(self, model: Model) -> Sequence[Reading]:
        """Accuracy by each of `RULES`, and the right answer's probability; one value a question.

        Raises PliantError for a set that cannot be read, an answer longer than the model's context, and losses that are no numbers.
        """
        check_loaded(model)
        questions = self.questions()
        scores = answer_scores(model, questions)
        right = [question.answer for question in questions]
        values = {
            metric: [float(rule(score) == answer) for score, answer in zip(scores, right, strict=True)] for metric, rule in RULES.items()
        }
        values["probability"] = [score.probability(answer) for score, answer in zip(scores, right, strict=True)]
        ids, ones, data = question_ids(questions), np.ones(len(questions)), self.data.fingerprint()
        units = {"probability": "probability"}
        return [
            Reading(metric, units.get(metric, "fraction right"), ids, np.array(found, float), ones, data, better="higher")
            for metric, found in values.items()
        ]

    def predictions(self, model: Model, by: str = "accuracy") -> Predictions:
        """The answer that is chosen to each question, as its place among the answers, by one of `RULES`.

        Raises PliantError as `readings` does, and for a rule of another name.
        """
        if by not in RULES:
            raise PliantError(f"choice: no rule {by!r}; {nearest(by, RULES)}")
        questions = self.questions()
        chosen = [RULES[by](score) for score in answer_scores(model, questions)]
        return Predictions(question_ids(questions), np.array(chosen, np.int64), data=self.data.fingerprint())

    def questions(self) -> list[ChoiceQuestion]:
        """Those that are asked. Raises PliantError that names the line at fault."""
        return list(islice(self.data.questions(), self.samples))

    def tokens(self) -> float:
        """About a hundred for each of four answers."""
        return 400.0 * (self.samples or 1000)


@dataclass(frozen=True)
class AnswerScores:
    """Of each answer to one question: log-likelihood in nats behind the question and by itself, characters and tokens."""

    totals: Array
    unconditional: Array
    characters: Array
    tokens: Array

    def probability(self, answer: int) -> float:
        """Of one answer among all of them."""
        likely = np.exp(self.totals - self.totals.max())
        return float(likely[answer] / likely.sum())


RULES: dict[str, Callable[[AnswerScores], int]] = {
    "accuracy": lambda score: int(np.argmax(score.totals)),
    "accuracy_per_character": lambda score: int(np.argmax(score.totals / score.characters)),
    "accuracy_per_token": lambda score: int(np.argmax(score.totals / score.tokens)),
    "accuracy_unconditional": lambda score: int(np.argmax(score.totals - score.unconditional)),
}
"""Which answer is chosen, by the metric that says how often it is the right one. Ties go to the first answer."""


def answer_scores(model: Model, questions: Sequence[ChoiceQuestion]) -> list[AnswerScores]:
    """What the model makes of every answer to each question. Raises PliantError as `Choice.readings` does."""
    alone = list(dict.fromkeys(text for question in questions for text in question.continuations))
    groups = [[(question.context, text) for text in question.continuations] for question in questions]
    *found, by_themselves = continuation_likelihoods(model, [*groups, [("", text) for text in alone]])
    unconditional = {text: float(logs.sum()) for text, logs in zip(alone, by_themselves, strict=True)}
    return [
        AnswerScores(
            np.array([part.sum() for part in parts]),
            np.array([unconditional[text] for text in question.continuations]),
            np.array([float(len(text) - 1) for text in question.continuations]),  # the space that joins them is none of theirs
            np.array([float(len(part)) for part in parts]),
        )
        for question, parts in zip(questions, found, strict=True)
    ]


def continuation_likelihoods(model: Model, groups: Sequence[Sequence[tuple[str, str]]]) -> list[list[Array]]:
    """log p of each token of each continuation, behind its context; a context is cut on the left where both are too long.

    Args:
        model: A causal language model with its tokenizer.
        groups: Pairs of context and continuation; what any of them begin with together is read once.

    Raises PliantError for a continuation that is no token, or longer than the model's context.
    """
    endings = iter(encoded(model, [pair for group in groups for pair in group]))
    losses = ending_losses(model.network, [[next(endings) for _ in group] for group in groups])
    return [[-loss for loss in group] for group in losses]


def encoded(model: Model, pairs: Sequence[tuple[str, str]]) -> list[Ending]:
    """Tokens of context and continuation together, as many as the model's context allows, the continuation's to be scored.

    White space at the end of a context goes over to its continuation, as tokenizers join it there. Where a tokenizer puts a token
    before every text, it stands first; without a context the tokenizer's opening token does, since something must.
    """
    tokenizer = model.tokenizer
    moved = [(context.rstrip(), context[len(context.rstrip()) :] + continuation) for context, continuation in pairs]
    lengths = {text: len(ids) for text, ids in _tokens(tokenizer, [context for context, _ in moved]).items()}
    wholes = _tokens(tokenizer, [context + continuation for context, continuation in moved])
    begin, longest = tokenizer.beginning_id, model.context
    found: list[Ending] = []
    for context, continuation in moved:
        whole = wholes[context + continuation]
        count = len(whole) - lengths[context]
        if not 0 < count <= longest:
            raise PliantError(f"an answer of {count} tokens cannot be scored in a context of {longest}")
        first = begin if begin is not None else None if lengths[context] else tokenizer.opening_id or 0
        ids = whole if first is None else np.concatenate([np.array([first], np.int32), whole])
        found.append(Ending(ids[-(longest + 1) :], count))
    return found


def _tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> dict[str, NDArray[np.int32]]:
    """Every text once."""
    different = list(dict.fromkeys(texts))
    return dict(zip(different, tokenizer.encode(different), strict=True))


def question_ids(questions: Sequence[ChoiceQuestion]) -> list[str]:
    """Questions that a set repeats are samples of their own, told apart by their turn."""
    seen: dict[str, int] = {}
    found: list[str] = []
    for question in questions:
        seen[question.id] = seen.get(question.id, 0) + 1
        found.append(question.id if seen[question.id] == 1 else f"{question.id}:{seen[question.id]}")
    return found
