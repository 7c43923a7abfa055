"""Predictions: what a model answers to each item, kept by name, whether right or wrong; and how sure it is.

Idea: nobody needs labels to compare what two models answer. A classifier answers with a class, a language model with one of the answers
that a question has, or with the words it writes. The value of an item is how sure the answer is: the probability of the class, or of the
answer among the others, and for words whether they ended by themselves. The answer itself stands beside it, in the ledger's view
`samples` as `answer`, so that the agreement of any two models is one query:
`select avg((a.answer = b.answer)::int) from samples a join samples b using (sample, metric) where a.weights = ... and b.weights = ...`.
When to use it: agreement between models, on data without labels; what a model knows; which answers a change flips.
Cost: one forward pass over the items; for words, generation.
What goes wrong: that a model is sure does not mean that it is right. Words agree only where they are the same; normalise them first
(`pliant.measures.short_answers`). A tokenizer's, or a head's, other classes are other answers.
Source: agreement as in arXiv 2106.13799; confidence as a guess at accuracy, arXiv 1610.02136.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from pliant.data.asked import Asked
from pliant.data.problems import ProblemSet
from pliant.errors import PliantError, within
from pliant.measures.accuracy import class_chances
from pliant.measures.choice import RULES, answer_scores, question_ids
from pliant.measures.generate import Generate, problem_ids
from pliant.measures.measure import Measure, Reading, check_loaded
from pliant.numbers import Count
from pliant.objectives.label import TYPICAL_LENGTH
from pliant.objectives.labelled import LabelledImages
from pliant.objectives.labelled_texts import LabelledTextRows
from pliant.spec import nearest

if TYPE_CHECKING:
    from pliant.models import Model


class Predict(Measure):
    """What a model answers, and how sure it is."""

    kind = "predictions"
    data: Asked = Field(description="What it is asked, with or without labels: images, texts, questions, or their source")
    samples: Count | None = Field(None, ge=1, description="How many items, from the first; null for all")
    by: str = Field("accuracy", description=f"Of answers to choose from, which is taken: {', '.join(RULES)}")
    shots: ProblemSet | None = Field(None, description="Of questions: problems whose answers are shown first")
    shown: int = Field(5, ge=0, description="How many of the shots")
    most: Count = Field(32, ge=1, description="Of questions: tokens of an answer, which is one line")
    temperature: float = Field(0.0, ge=0, description="Of questions: 0 takes the likeliest token each time")
    seed: int = Field(0, ge=0, description="Of what is drawn")
    batch: int = Field(64, ge=1, exclude=True, description="Examples that go through a classifier together; the result is the same")

    def __call__(self, model: Model) -> Reading:
        """How sure each answer is, with the answers. Raises PliantError for data that cannot be read, or that this model does not read."""
        check_loaded(model)
        if self.by not in RULES:
            raise PliantError(f"predictions: no rule {self.by!r}; {nearest(self.by, RULES)}")
        if model.labels:
            return self._classified(model)
        if model.task.name != "causal":
            raise PliantError(
                f"{model.checkpoint.address} is {model.task.called}; predictions are those of classifiers and language models"
            )
        return self._chosen(model) or self._written(model)

    def examples(self, model: Model) -> LabelledImages | LabelledTextRows:
        """What a classifier is asked, as it reads it. Raises PliantError for data that cannot be read, or that this model does not read."""
        if model.task.images:
            return LabelledImages(self.data.pictures(model.images.size), model.images, (0,))
        return LabelledTextRows.unlabelled(self.data.texts(), model, "all")

    def _classified(self, model: Model) -> Reading:
        examples = self.examples(model)
        count = min(len(examples.ids), self.samples or len(examples.ids))
        with within(f"{model.checkpoint.address} on {self.data.source}"):
            chances, _ = class_chances(
                model, examples, lambda batch: model.network(**batch.inputs).logits, len(model.labels), count, self.batch
            )
        answers = [model.labels[place] for place in chances.argmax(1)]
        return self._reading("confidence", "probability", examples.ids[:count], chances.max(1), examples.fingerprint, answers)

    def _chosen(self, model: Model) -> Reading | None:
        questions = self.data.choices()[: self.samples]
        if not questions:
            return None
        scores = answer_scores(model, questions)
        places = [RULES[self.by](score) for score in scores]
        sure = np.array([score.probability(place) for score, place in zip(scores, places, strict=True)])
        answers = [question.continuations[place][1:] for question, place in zip(questions, places, strict=True)]
        return self._reading("confidence", "probability", question_ids(questions), sure, self.data.fingerprint(), answers)

    def _written(self, model: Model) -> Reading:
        problems = self.data.questions()[: self.samples]
        drawn = {name: getattr(self, name) for name in ("shots", "shown", "most", "temperature", "seed")}
        said = Generate(data=ProblemSet(source=self.data.source), answers="short", **drawn).said(model, problems)
        ended = np.array([answer.ended for answer in said], float)
        answers = [answer.text.strip() for answer in said]
        return self._reading("ended", "fraction of answers", problem_ids(problems), ended, self.data.fingerprint(), answers)

    def _reading(self, metric: str, unit: str, ids: Sequence[str], values: np.ndarray, data: str, answers: Sequence[str]) -> Reading:
        return Reading(metric, unit, list(ids), values, np.ones(len(values)), data, better="higher", answers=answers)

    def tokens(self) -> float:
        """About as many as a usual text has, for each item."""
        return float(TYPICAL_LENGTH * (self.samples or 1000))
