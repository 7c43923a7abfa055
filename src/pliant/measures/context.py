"""Context reliance: whether a model answers from the context it is given, or from memory, where the two say different things.

Idea: each question comes with a context that contradicts what is known, and is answered greedily. `counterfactual` is how often the
context's answer is in what is said, `parametric` how often the known one is. A model that explains may say both, so that the four cases
that exclude each other stand beside them: `context_only`, `memory_only`, `both` and `neither`. Answers are compared in small letters,
without punctuation and articles; where one answer holds the other (New Cairo, Cairo) the longer one is looked for first, and counts
for itself alone.
When to use it: along a fine-tuning run (checkpoints of it, and the checkpoint question): what follows the context more and more at
first, and less from some step on, has an inversion.
Cost: generation of at most `most` tokens for each item.
What goes wrong: many contexts name the known answer too ("Kabul was destroyed"), so a model that quotes says both: read `context_only`.
Longer answers hold more by chance: see `words`. The prompt should be the one that was tuned with (`template`). Several contexts of one
question are no independent items; they count as one cluster. Choose a checkpoint by some questions and test it on the others.
Source: arXiv 2410.10796.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from pydantic import Field, field_validator

from pliant.data.conflicts import Conflict, Conflicts
from pliant.data.rows import first_record
from pliant.errors import PliantError
from pliant.measures.measure import Better, Measure, Reading, check_loaded
from pliant.measures.short_answers import normalised
from pliant.models.generation import generate
from pliant.numbers import Count

if TYPE_CHECKING:
    from pliant.models import Model

STOP = ("\n", "Question:", "</s>", "<|im_end|>")
PLACES = ("{context}", "{question}")

METRICS: dict[str, Better] = {
    "counterfactual": "higher",
    "parametric": "lower",
    "context_only": "higher",
    "memory_only": "lower",
    "both": "lower",
    "neither": "lower",
}


class ContextReliance(Measure):
    """How often a model follows a context that contradicts its memory."""

    kind = "context"
    trust: ClassVar[tuple[str, ...]] = ("context_only", "memory_only")
    needs: ClassVar[str] = "a table with context, question, answer and memory_answer (or parametric_answer), and a language model"

    data: Conflicts = Field(description="Questions with contexts that contradict what is known: a table, or its source")
    samples: Count | None = Field(None, ge=1, description="How many items, from the first; null for all")
    template: str = Field(
        "Background: {context}\nQuestion: {question}\nAnswer:",
        description="The prompt, with {context} and {question}, as tuned with",
    )
    most: Count = Field(32, ge=1, description="Tokens of an answer, which is one line")

    @field_validator("template")
    @classmethod
    def _places(cls, template: str) -> str:
        if lacking := [place for place in PLACES if template.count(place) != 1]:
            raise PliantError(f"must say once where it stands: {lacking[0]}")
        return template

    @classmethod
    def on(cls, source: str) -> Self | None:
        """Of a source of conflicts."""
        return cls.parse({"data": source}) if Conflicts.has(set(first_record(source) or ())) else None

    def readings(self, model: Model) -> Sequence[Reading]:
        """Six rates, and the `words` of an answer; one value an item, the contexts of a question in one cluster.

        Raises PliantError for data that cannot be read, answers that coincide, a prompt that the context has no room for, and a model
        that is no language model.
        """
        check_loaded(model)
        if model.task.name != "causal":
            raise PliantError(f"{model.checkpoint.address} is {model.task.called}; context reliance is read off a language model")
        items = list(islice(self.data.conflicts(), self.samples))
        pairs = [self._answers(item) for item in items]
        prompts = [self._prompt(item) for item in items]
        self._check_room(model, prompts)
        said = [answer.text for answer in generate(model, prompts, most=self.most, stop=STOP)]
        found = np.array([contained(text, *pair) for text, pair in zip(said, pairs, strict=True)], bool)
        given, known = found.T
        values = (given, known, given & ~known, known & ~given, given & known, ~given & ~known)
        ids, ones, data = [f"{item.id}:{number}" for number, item in enumerate(items)], np.ones(len(items)), self.data.fingerprint()
        told = [
            Reading(metric, "fraction of answers", ids, value.astype(np.float64), ones, data, better=better)
            for (metric, better), value in zip(METRICS.items(), values, strict=True)
        ]
        told[0] = replace(told[0], answers=said)
        words = np.array([len(text.split()) for text in said], np.float64)
        return [*told, Reading("words", "words", ids, words, ones, data)]

    def _prompt(self, item: Conflict) -> str:
        """In one pass, since a context may hold braces of its own."""
        texts = {"{context}": item.context, "{question}": item.question}
        return re.sub("|".join(map(re.escape, PLACES)), lambda place: texts[place[0]], self.template)

    def _answers(self, item: Conflict) -> tuple[str, str]:
        given, known = normalised(item.given), normalised(item.known)
        if not given or not known or given == known:
            raise PliantError(f"{self.data.source}: the answers {item.given!r:.40} and {item.known!r:.40} are compared as the same")
        return given, known

    def _check_room(self, model: Model, prompts: Sequence[str]) -> None:
        """A prompt that loses its beginning loses the context."""
        lengths = [len(ids) + (model.tokenizer.beginning_id is not None) for ids in model.tokenizer.encode(prompts)]
        room = model.context - self.most
        if (longest := max(lengths)) > room:
            raise PliantError(
                f"{self.data.source}: the prompt of item {lengths.index(longest) + 1} has {longest} tokens "
                f"({sum(n > room for n in lengths)} of {len(lengths)} are too long), and a context of {model.context} leaves "
                f"{max(room, 0)} beside answers of {self.most}"
            )

    def tokens(self) -> float:
        """As many forward passes as answers have tokens."""
        return float(self.most * (self.samples or 400))


def contained(said: str, given: str, known: str) -> tuple[bool, bool]:
    """Whether what is said holds each of two normalised answers; where the longer one holds the shorter it is taken out first."""
    text = normalised(said)
    if given in known:
        return given in text.replace(known, "\n"), known in text
    if known in given:
        return given in text, known in text.replace(given, "\n")
    return given in text, known in text
