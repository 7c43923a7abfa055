"""Generation: whether what a model writes is the right answer. For GSM8K, SVAMP, NQ-open and tables of questions and answers.

Idea: the model answers greedily, or by drawing; the number is taken out of its answer in two ways. `strict` wants it behind `####`, as
GSM8K's own answers have it; `flexible` takes the last number there is. Short answers, which need not be numbers, are compared
word by word (`pliant.measures.short_answers`), with each of the answers that a set has. Beside these stands how many answers ended by
themselves.
When to use it: skills that are learned in fine-tuning, and lost in other changes.
Cost: generation, about as many forward passes as an answer has tokens.
What goes wrong: a model that was never shown `####` scores nothing strictly; give `shots`, which are shown first. Small models solve
nothing, and differences then show in losses only. An answer that never ends is cut at `most` tokens: see the fraction that ended.
Source: the two filters of the field's harness for GSM8K (strict-match and flexible-extract) and its exact match, which ignores
commas, dollar signs and a full stop at the end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from pliant.data.problems import Problem, ProblemSet
from pliant.errors import PliantError
from pliant.measures.measure import Measure, Reading, check_loaded
from pliant.measures.short_answers import exact_match, token_f1
from pliant.models.generation import Said, generate
from pliant.numbers import Count

if TYPE_CHECKING:
    from pliant.models import Model

STRICT = re.compile(r"#### (\-?[0-9\.\,]+)")
FLEXIBLE = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")
IGNORED = (re.compile(","), re.compile(r"\$"), re.compile(r"(?s).*#### "), re.compile(r"\.$"))
STOP = ("Question:", "</s>", "<|im_end|>")


class Generate(Measure):
    """Fraction of problems whose answer the model finds."""

    data: ProblemSet = Field(description="Problems with answers: a set, or its source")
    samples: Count | None = Field(None, ge=1, description="How many problems, from the first; null for all")
    shots: ProblemSet | None = Field(None, description="Problems whose answers are shown first")
    shown: int = Field(5, ge=0, description="How many of the shots")
    answers: Literal["number", "short"] = Field(
        "number", description="number: taken out of a worked answer; short: the first line is the answer, in words"
    )
    most: Count = Field(256, ge=1, description="Tokens of an answer")
    temperature: float = Field(0.0, ge=0, description="0 takes the likeliest token each time")
    seed: int = Field(0, ge=0, description="Of what is drawn")

    @model_serializer(mode="wrap")
    def _without_numbers(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `answers` where they are numbers, so that records from before there was a choice keep their keys."""
        return {name: value for name, value in handler(self).items() if name != "answers" or value != "number"}

    def readings(self, model: Model) -> Sequence[Reading]:
        """`exact_match_flexible` and `exact_match_strict` of numbers, `exact_match` and `f1` of short answers; and `ended`.

        One value a problem. Raises PliantError as `generate` does, and for numbers asked of a set that lists answers in words.
        """
        check_loaded(model)
        problems = self.problems()
        if self.answers == "number" and any(problem.listed for problem in problems):
            raise PliantError(f"{self.data.source}: lists short answers, out of which no number is taken; ask with `answers: short`")
        said = self.said(model, problems)
        answered = [(answer.text, problem.answers) for answer, problem in zip(said, problems, strict=True)]
        found = {metric: [right(text, answers) for text, answers in answered] for metric, right in RIGHT[self.answers].items()}
        found["ended"] = [answer.ended for answer in said]
        units = {"ended": "fraction of answers", "f1": "F1"}
        ids, ones, data = problem_ids(problems), np.ones(len(problems)), self.data.fingerprint()
        return [
            Reading(metric, units.get(metric, "fraction right"), ids, np.array(values, float), ones, data, better="higher")
            for metric, values in found.items()
        ]

    def problems(self) -> list[Problem]:
        """Those that are asked. Raises PliantError that names the line at fault."""
        return list(islice(self.data.problems(), self.samples))

    def said(self, model: Model, problems: Sequence[Problem]) -> list[Said]:
        """What the model answers each problem, asked as the harness asks GSM8K. Raises PliantError as `generate` does."""
        shots = list(islice(self.shots.problems(), self.shown)) if self.shots is not None else []
        before = "".join(f"Question: {shot.question}\nAnswer: {shot.answer}\n\n" for shot in shots)
        prompts = [f"{before}Question: {problem.question}\nAnswer:" for problem in problems]
        stop = STOP if self.answers == "number" else ("\n", *STOP)
        return generate(model, prompts, most=self.most, stop=stop, temperature=self.temperature, seed=self.seed)

    def tokens(self) -> float:
        """As many forward passes as answers have tokens."""
        return float(self.most * (self.samples or 1000))


def strict(answer: str) -> str:
    """The first number behind `####`."""
    match = STRICT.search(answer)
    return match[1].strip() if match else "[invalid]"


def flexible(answer: str) -> str:
    """The last number there is."""
    found = FLEXIBLE.findall(answer)
    return next((part for part in found[-1] if part), "").strip() if found else "[invalid]"


EXTRACTIONS: dict[str, Callable[[str], str]] = {"exact_match_flexible": flexible, "exact_match_strict": strict}
"""How the number is taken out of an answer, by the metric that says how often it is the right one."""


def _numbers(taken: Callable[[str], str]) -> Callable[[str, Sequence[str]], float]:
    return lambda text, answers: float(any(same(taken(text), answer) for answer in answers))


RIGHT: dict[str, dict[str, Callable[[str, Sequence[str]], float]]] = {
    "number": {metric: _numbers(taken) for metric, taken in EXTRACTIONS.items()},
    "short": {"exact_match": exact_match, "f1": token_f1},
}
"""How right a text is, given the right answers, by the metric that says so."""


def same(answer: str, right: str) -> bool:
    """Whether two numbers are written alike, but for what is ignored."""
    return plain(answer) == plain(right)


def plain(text: str) -> str:
    """Without what is ignored."""
    for pattern in IGNORED:
        text = pattern.sub("", text)
    return text.lower()


def problem_ids(problems: Sequence[Problem]) -> list[str]:
    """Problems that a set repeats are samples of their own, told apart by their place."""
    return [f"{problem.id}:{number}" for number, problem in enumerate(problems)]
