"""Facts: how many of them a model still tells, by relation and by how well it knew them; and whether it falls back on what is usual.

Idea: each fact is asked behind `shots` others of its relation, and answered greedily. `accuracy` is whether what is said begins, word for
word, with one of the fact's answers (all aliases count); `exact_match` and `f1` compare the whole first line. With a table of knownness
(`pliant score knownness`) of the model before the change, each relation's facts are parted at their median, and `accuracy of known` and
`accuracy of less known` are told apart; facts below `unknown_below` are `unknown`, which is another matter. `generic` is how often a wrong
answer is the one that is right most often in its relation. `subject_attention` is the attention that the last token of the question pays
to the subject's tokens, mean over layers and heads: where fine-tuning teaches guessing, it falls before accuracy does.
When to use it: before and after fine-tuning on questions.
Cost: generation of at most `most` tokens for each fact; attention takes a forward pass more, with all weights in memory.
What goes wrong: answers in other words than the table's count as wrong, and the same share in both models says nothing of that. Patterns go
on after the answer ("in Paris."), so read `accuracy` there. Popular relations have popular subjects: compare within relations.
Source: arXiv 2406.14785.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from pydantic import Field

from pliant.data import Part
from pliant.data.facts import Fact, Facts
from pliant.data.located import Located
from pliant.data.rows import first_record
from pliant.data.selection import Selection
from pliant.errors import PliantError
from pliant.measures.measure import Measure, Reading, check_loaded
from pliant.measures.short_answers import exact_match, normalised, token_f1
from pliant.measures.subject_attention import SubjectPrompt, subject_attention
from pliant.models.generation import generate
from pliant.numbers import Count
from pliant.spec import digest

if TYPE_CHECKING:
    from pliant.models import Model
    from pliant.statistics import Array

STOP = ("\n", "</s>", "<|im_end|>")
STRATA = ("known", "less known", "unknown")


class KnownTable(Located):
    """How well each fact was known, by id; a plain string is its `source`."""

    def values(self) -> dict[str, float]:
        """By id. Raises PliantError that names the row at fault."""
        return Selection(scores=self.source, keep=1.0).values()


class FactsKept(Measure):
    """How many facts a model tells, by relation and by knownness."""

    kind = "facts"
    trust: ClassVar[tuple[str, ...]] = ("accuracy", "generic")
    needs: ClassVar[str] = "a table of facts (question and answers, or sub_label and obj_label with patterns), and a language model"

    data: Facts = Field(description="Questions with short answers, or subjects with a relation: a table, or its source")
    part: Part = Field("all", description="Which part of it: all, heldout or train")
    samples: Count | None = Field(None, ge=1, description="How many facts, from the first; null for all")
    shots: int = Field(4, ge=0, description="Other facts of the relation, with their answers, before each question")
    known: KnownTable | None = Field(None, description="Table with id and score, as `pliant score knownness` writes of the model before")
    unknown_below: float | None = Field(None, description="Scores below this are of facts that are not known at all")
    by_relation: bool = Field(True, description="Also the accuracy within each relation")
    attention: bool = Field(False, description="Also the attention on the subject, where the network tells it")
    most: Count = Field(16, ge=1, description="Tokens of an answer, which is one line")

    @classmethod
    def on(cls, source: str) -> Self | None:
        """Of a source of questions that lists their answers, as no worked answer is; of subjects and relations patterns must be told."""
        record = first_record(source) or {}
        answers = next((record[name] for name in ("answers", "possible_answers", "answer") if name in record), None)
        listed = "question" in record and isinstance(answers, list) and not {"choices", "context"} & set(record)
        return cls.parse({"data": source}) if listed else None

    def readings(self, model: Model) -> Sequence[Reading]:
        """Accuracy, exact match, F1, generic answers and attention, then accuracy by stratum and by relation; one value a fact.

        Raises PliantError for data that cannot be read, prompts longer than the context, facts without a value in the table of knownness,
        and a model that is no language model.
        """
        check_loaded(model)
        if model.task.name != "causal":
            raise PliantError(f"{model.checkpoint.address} is {model.task.called}; facts are asked of a language model")
        ids, facts, asked = self._asked()
        self._check_room(model, asked)
        said = [answer.text.strip() for answer in generate(model, [one.prompt for one in asked], most=self.most, stop=STOP)]
        usual = usual_answers(facts)
        right = np.array([begins(text, fact.answers) for text, fact in zip(said, facts, strict=True)], float)
        generic = [begins(text, [usual[fact.relation]]) for text, fact in zip(said, facts, strict=True)]
        answered = list(zip(said, (fact.answers for fact in facts), strict=True))
        values: dict[str, tuple[str, Array]] = {
            "accuracy": ("fraction right", right),
            "exact_match": ("fraction right", np.array([exact_match(text, answers) for text, answers in answered], float)),
            "f1": ("F1", np.array([token_f1(text, answers) for text, answers in answered])),
            "generic": ("fraction of answers", np.array(generic, float) * (1 - right)),
        }
        if self.attention:
            values["subject_attention"] = ("attention", subject_attention(model, asked))
        clusters = [digest(fact.asked) for fact in facts]  # one subject may stand in several relations
        fingerprint = f"{self.data.fingerprint()} {self.part}"
        told = [
            Reading(name, unit, ids, found, np.ones(len(ids)), fingerprint, clusters, "lower" if name == "generic" else "higher")
            for name, (unit, found) in values.items()
        ]
        told[0] = replace(told[0], answers=said)
        return [*told, *(_within(told[0], name, inside) for name, inside in self._groups(ids, facts).items())]

    def _asked(self) -> tuple[list[str], list[Fact], list[SubjectPrompt]]:
        """Ids, facts and how they are asked; facts of relations without patterns are left out."""
        ways = self.data.prompts()
        found = list(self.data.facts(self.part, Counter()))
        usable = [(name, fact) for name, fact in found if not isinstance(ways, Mapping) or ways.get(fact.relation)]
        if not usable:
            raise PliantError(f"{self.data.source}: no fact can be asked for; the relations need patterns of their names")
        others: dict[str, list[Fact]] = defaultdict(list)
        for _, fact in sorted(usable, key=lambda one: digest(one[0])):  # the same ones however many are asked, and in any order
            others[fact.relation] += [fact] if len(others[fact.relation]) <= self.shots else []
        ids, facts = zip(*islice(usable, self.samples), strict=True)
        return list(ids), list(facts), [self._way(fact, ways, others[fact.relation]) for fact in facts]

    def _way(self, fact: Fact, ways: Mapping[str, Sequence[str]] | Sequence[str], others: Sequence[Fact]) -> SubjectPrompt:
        way = (ways[fact.relation] if isinstance(ways, Mapping) else ways)[0]
        shown = [other for other in others if other.asked != fact.asked][: self.shots]
        start, _, end = way.partition("{}")
        before = "".join(f"{way.replace('{}', other.asked)} {other.answers[0]}\n" for other in shown) + start
        return SubjectPrompt(before, fact.asked, end)

    def _groups(self, ids: Sequence[str], facts: Sequence[Fact]) -> dict[str, np.ndarray]:
        """Which facts are in each stratum and relation, by what it is called; empty ones are left out."""
        relations = np.array([fact.relation for fact in facts])
        found: dict[str, np.ndarray] = {}
        if self.known is not None:
            strata = _strata(self._scores(ids), relations, self.unknown_below)
            found |= {name: np.flatnonzero(strata == name) for name in STRATA}
        names = np.unique(relations)
        if self.by_relation and len(names) > 1:
            found |= {str(name): np.flatnonzero(relations == name) for name in names}
        return {name: inside for name, inside in found.items() if len(inside)}

    def _scores(self, ids: Sequence[str]) -> Array:
        assert self.known is not None
        values = self.known.values()
        if missing := [name for name in ids if name not in values]:
            told = f"{len(missing)} of {len(ids)} facts have no value, the first of them {missing[0]}"
            raise PliantError(f"{self.known.source}: {told}; score these facts, and the same part of them")
        return np.array([values[name] for name in ids])

    def _check_room(self, model: Model, asked: Sequence[SubjectPrompt]) -> None:
        longest = max(map(len, model.tokenizer.encode([one.prompt for one in asked]))) + (model.tokenizer.beginning_id is not None)
        if longest + self.most > model.context:
            raise PliantError(
                f"{self.data.source}: a prompt has {longest} tokens, which a context of {model.context} has no room for beside answers of "
                f"{self.most}; show fewer shots"
            )

    def tokens(self) -> float:
        """As many forward passes as answers have tokens."""
        return float(self.most * (self.samples or 1000))


def begins(said: str, answers: Sequence[str]) -> bool:
    """Whether it begins with one of the answers, word for word, however both are written."""
    words = normalised(said).split()
    return any(told and words[: len(told)] == told for told in (normalised(answer).split() for answer in answers))


def usual_answers(facts: Sequence[Fact]) -> dict[str, str]:
    """The answer that is right most often in each relation, the first in the alphabet where several are."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for fact in facts:
        counts[fact.relation][fact.answers[0]] += 1
    return {name: min(found, key=lambda answer: (-found[answer], answer)) for name, found in counts.items()}


def _strata(scores: Array, relations: np.ndarray, unknown_below: float | None) -> np.ndarray:
    """(facts,) known: at or above the median of those of its relation that are not unknown."""
    unknown = scores < (-np.inf if unknown_below is None else unknown_below)
    strata = np.where(unknown, STRATA[2], STRATA[1]).astype(object)
    for name in np.unique(relations):
        inside = np.flatnonzero((relations == name) & ~unknown)
        if len(inside):
            strata[inside[scores[inside] >= np.median(scores[inside])]] = STRATA[0]
    return strata


def _within(reading: Reading, name: str, inside: np.ndarray) -> Reading:
    """The part of a reading that these places are."""
    places = inside.tolist()
    samples, clusters = ([column[place] for place in places] for column in (reading.samples, reading.clusters))
    values, weights = reading.values[places], reading.weights[places]
    return replace(
        reading, metric=f"{reading.metric} of {name}", samples=samples, values=values, weights=weights, clusters=clusters, answers=()
    )
