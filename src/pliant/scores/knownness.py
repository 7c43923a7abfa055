"""How well a model knows a fact already: the likelihood of its answer when it is asked in several ways, or how often it gives it.

Idea: each fact is asked with every prompt, behind a few other facts of its relation with their answers (`shots`). `likelihood` is the mean
over prompts of log p(answer) per token of the answer, of the likeliest form where an answer has several; `accuracy` the share of prompts
to which greedy decoding begins with an answer, word for word; `popularity` is the column of that name, which asks no model.
When to use it: before fine-tuning on questions: keep the better known half, of every relation
(`select: {scores: FILE, keep: 0.5, within_source: true}`), and look at those with a likelihood far below all others, which are not known.
Cost: a forward pass over prompts x (shots + 1) facts for each fact and model; all facts are held in memory.
What goes wrong: popularity goes with the relation, so compare within relations; short answers are guessed from the relation alone; an
answer in other words than the table has counts as wrong.
Source: arXiv 2406.14785; prompts for relations as in arXiv 2102.01017.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from pliant.data import Part
from pliant.data.facts import Fact, Facts
from pliant.errors import PliantError
from pliant.measures.branches import Ending
from pliant.measures.choice import continuation_likelihoods, encoded
from pliant.measures.likelihood import first_guesses, sequence_losses
from pliant.measures.measure import check_loaded
from pliant.progress import remark
from pliant.scores.band import scattered
from pliant.scores.score import Rows, Score, Scoring
from pliant.spec import Spec

if TYPE_CHECKING:
    from pliant.models import Model
    from pliant.objectives import Examples
    from pliant.statistics import Array

PART = 256
"""Facts that are scored before they are written down."""
Asked = tuple[str, tuple[str, ...]]
"""What is said before an answer, and the forms it may have."""


class ToldFacts(Spec):
    """Facts and the ways to ask for them."""

    data: Facts = Field(description="Questions with short answers, or subjects with a relation: a table, or its source")
    part: Part = Field("train", description="Which part of it: train, heldout or all")

    def examples(self, model: Model, length: int | None) -> FactExamples:
        """All of them; `length` means nothing. Raises PliantError for a table that cannot be read, and where no fact can be asked for."""
        skipped = Counter[str]()
        found = dict(self.data.facts(self.part, skipped))
        prompts = self.data.prompts()
        kept = {name: fact for name, fact in found.items() if not isinstance(prompts, Mapping) or prompts.get(fact.relation)}
        if not kept:
            raise PliantError(f"{self.data.source}: no fact can be asked for; the relations need patterns of their names")
        if unasked := len(found) - len(kept):
            names = sorted({fact.relation for fact in found.values()} - {fact.relation for fact in kept.values()})
            remark(f"{self.data.source}: {unasked} of {len(found)} facts are of relations without patterns ({', '.join(names[:8])})")
        if skipped["skipped"]:
            remark(f"{self.data.source}: {skipped['skipped']} records are no facts, and were left out")
        return FactExamples(list(kept), list(kept.values()), prompts, f"{self.data.fingerprint()} {self.part}")


@dataclass(frozen=True)
class FactExamples:
    """Facts under their ids."""

    ids: Sequence[str]
    facts: Sequence[Fact]
    prompts: Mapping[str, Sequence[str]] | Sequence[str]
    fingerprint: str

    def ways(self, relation: str) -> Sequence[str]:
        """To ask for a fact of this relation."""
        return self.prompts[relation] if isinstance(self.prompts, Mapping) else self.prompts


class Knownness(Score):
    """How well facts are known, averaged over prompts and models."""

    unit = "nats/token"
    better = "higher"
    reads = "answers"
    value: Literal["likelihood", "accuracy", "popularity"] = Field(
        default="likelihood", description="Mean log-likelihood per token of the answer; how often it is given; or the column of popularity"
    )
    shots: int = Field(default=4, ge=0, description="Other facts of the relation, with their answers, before each prompt")
    prompts: int = Field(default=4, ge=1, description="How many ways to ask, from the first")
    seed: int = Field(default=0, ge=0, description="Which other facts")

    @classmethod
    def source(cls, form: Any, where: str) -> ToldFacts:
        """Of a table of facts."""
        return ToldFacts.parse(form, where)

    def scoring(self, models: Sequence[Model], examples: Examples) -> Scoring:
        """One value per fact, the relation as its source. Raises PliantError for examples that are no facts, and for no model."""
        if not isinstance(examples, FactExamples):
            raise PliantError(f"knownness scores facts, not {type(examples).__name__}")
        if not models:
            raise PliantError("knownness needs a model: the one that is to be fine-tuned")
        for model in models:
            check_loaded(model)
        others = self._others(examples)
        starts = np.unique([*range(0, len(examples.ids), PART), len(examples.ids)])
        return Scoring(starts, np.diff(starts), lambda numbers: self._rows(models, examples, others, numbers), "")

    def _rows(self, models: Sequence[Model], examples: FactExamples, others: Mapping[str, Sequence[int]], numbers: range) -> Rows:
        facts = [examples.facts[number] for number in numbers]
        asked = [self._asked(examples, others, number) for number in numbers]
        ends = np.cumsum([0, *map(len, asked)])
        flat = [way for ways in asked for way in ways]
        if self.value == "popularity":
            if missing := [fact for fact in facts if fact.popularity is None]:
                raise PliantError(f"there is no popularity of {missing[0].asked[:60]!r}; score by likelihood")
            values: Array = np.array([fact.popularity for fact in facts], np.float64)
        else:
            read = _likelihoods if self.value == "likelihood" else _given
            each: Array = np.mean([read(model, flat) for model in models], 0)
            values = np.array([each[start:end].mean() for start, end in pairwise(ends)])
        lengths = models[0].tokenizer.encode([f" {fact.answers[0]}" for fact in facts])
        return Rows(
            [examples.ids[number] for number in numbers], values, np.array([len(ids) for ids in lengths], np.int64),
            [fact.relation for fact in facts],
        )  # fmt: skip

    def _others(self, examples: FactExamples) -> dict[str, list[int]]:
        """One more fact of each relation than is shown, in a random order that the seed tells, whatever order they are stored in."""
        numbers = scattered(np.array([int(name[:16], 16) for name in examples.ids], np.uint64), self.seed)
        found: dict[str, list[int]] = defaultdict(list)
        for number in np.argsort(numbers):
            mine = found[examples.facts[number].relation]
            if len(mine) <= self.shots:
                mine.append(int(number))
        return found

    def _asked(self, examples: FactExamples, others: Mapping[str, Sequence[int]], number: int) -> list[Asked]:
        fact = examples.facts[number]
        shown = [examples.facts[other] for other in others[fact.relation] if other != number][: self.shots]
        found: list[Asked] = []
        for way in examples.ways(fact.relation)[: self.prompts]:
            before = [f"{way.replace('{}', other.asked)} {other.answers[0]}\n" for other in shown]
            found.append(("".join(before) + way.replace("{}", fact.asked), tuple(f" {answer}" for answer in fact.answers)))
        return found


def _likelihoods(model: Model, asked: Sequence[Asked]) -> Array:
    """(asked,) log p per token of the likeliest form of each answer."""
    found = continuation_likelihoods(model, [[(before, answer) for answer in answers] for before, answers in asked])
    return np.array([max(float(logs.mean()) for logs in forms) for forms in found])


def _given(model: Model, asked: Sequence[Asked]) -> Array:
    """(asked,) 1 where each token of an answer is the likeliest behind those before it, which is to say that greedy decoding gives it."""
    endings: list[Ending] = encoded(model, [(before, answer) for before, answers in asked for answer in answers])
    hits = iter(sequence_losses(model.network, [ending.tokens for ending in endings], each=first_guesses))
    right = [bool(next(hits)[-ending.count :].all()) for ending in endings]
    ends = np.cumsum([0, *(len(answers) for _, answers in asked)])
    return np.array([float(any(right[start:end])) for start, end in pairwise(ends)])
