"""Generation: whether what a model writes is the right answer. For GSM8K, SVAMP, NQ-open and tables of questions and answers.

Idea: the model answers greedily, or by drawing; the number is taken out of its answer in two ways. `strict` wants it behind `####`, as
GSM8K's own answers have it; `flexible` takes the last number there is. Short answers, which need not be numbers, are compared
word by word (`pliant.measures.short_answers`), with each of the answers that a set has. Beside these stands how many answers ended by
themselves. Answered `times` times, a problem's values are means over its answers, with pass@k and the number of different answers beside
them (`pliant.measures.several_answers`).
When to use it: skills that are learned in fine-tuning, and lost in other changes.
Cost: generation, about as many forward passes as an answer has tokens, as often as it is answered.
What goes wrong: a model that was never shown `####` scores nothing strictly; give `shots`, which are shown first. Small models solve
nothing, and differences then show in losses only. An answer that never ends is cut at `most` tokens: see the fraction that ended.
Source: the two filters of the field's harness for GSM8K (strict-match and flexible-extract) and its exact match, which ignores
commas, dollar signs and a full stop at the end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from pliant.data.problems import Problem, ProblemSet
from pliant.errors import PliantError
from pliant.measures.measure import Measure, Reading, check_loaded
from pliant.measures.several_answers import distinct, pass_at
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
    top_p: float = Field(1.0, gt=0, le=1, description="Draw among the likeliest tokens that make up this probability")
    times: Count = Field(1, ge=1, description="How often each problem is answered; more than once needs a temperature")
    pass_at: tuple[Annotated[int, Field(ge=1)], ...] = Field((), description="The k of pass@k, each at most `times`")
    seed: int = Field(0, ge=0, description="Of what is drawn")

    @model_validator(mode="after")
    def _drawn(self) -> Self:
        if self.times > 1 and not self.temperature:
            raise ValueError(f"answered {self.times} times without a temperature, all answers are the same; give one, such as 0.8")
        if self.pass_at and max(self.pass_at) > self.times:
            k = max(self.pass_at)
            raise ValueError(f"pass@{k} needs {k} answers at least, and each problem has {self.times}; give times: {k} or more")
        return self

    @model_serializer(mode="wrap")
    def _without_usual(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what is as it was before there was a choice, so that records from then keep their keys."""
        usual = {"answers": "number", "top_p": 1.0, "times": 1, "pass_at": ()}
        return {name: value for name, value in handler(self).items() if name not in usual or getattr(self, name) != usual[name]}

    def readings(self, model: Model) -> Sequence[Reading]:
        """`exact_match_flexible` and `exact_match_strict` of numbers, `exact_match` and `f1` of short answers; and `ended`.

        One value a problem. Of several answers each, `pass_at_K` after the metric that says what is right, and `distinct`,
        `distinct_right` and `distinct_wrong` as well. Raises PliantError as `generate` does, and for numbers asked of a set that lists
        answers in words.
        """
        check_loaded(model)
        problems = self.problems()
        if self.answers == "number" and any(problem.listed for problem in problems):
            raise PliantError(f"{self.data.source}: lists short answers, out of which no number is taken; ask with `answers: short`")
        said = self.said(model, problems)
        told = [self._told(problem, said[number :: len(problems)]) for number, problem in enumerate(problems)]
        ids, ones, data = problem_ids(problems), np.ones(len(problems)), self.data.fingerprint()
        return [
            Reading(metric, _unit(metric), ids, np.array([values[metric] for values in told]), ones, data, better="higher")
            for metric in (told[0] if told else ())
        ]

    def _told(self, problem: Problem, said: Sequence[Said]) -> dict[str, float]:
        """What there is to tell of a problem's answers, by metric."""
        right = {metric: [float(how(one.text, problem.answers)) for one in said] for metric, how in RIGHT[self.answers].items()}
        told = {metric: sum(values) / len(said) for metric, values in right.items()} | {"ended": sum(one.ended for one in said) / len(said)}
        if self.times > 1:
            exact = {metric: [value == 1 for value in values] for metric, values in right.items() if metric.startswith("exact_match")}
            told |= {f"{name}_pass_at_{k}": pass_at(k, sum(found), len(said)) for name, found in exact.items() for k in self.pass_at}
            told |= distinct([one.text.strip() for one in said], next(iter(exact.values())))
        return told

    def problems(self) -> list[Problem]:
        """Those that are asked. Raises PliantError that names the line at fault."""
        return list(islice(self.data.problems(), self.samples))

    def said(self, model: Model, problems: Sequence[Problem]) -> list[Said]:
        """What the model answers all problems, as often as it is asked, in the harness's form. Raises PliantError as `generate` does."""
        shots = list(islice(self.shots.problems(), self.shown)) if self.shots is not None else []
        before = "".join(f"Question: {shot.question}\nAnswer: {shot.answer}\n\n" for shot in shots)
        prompts = [f"{before}Question: {problem.question}\nAnswer:" for problem in problems]
        stop = STOP if self.answers == "number" else ("\n", *STOP)
        return generate(
            model, prompts * self.times, most=self.most, stop=stop, temperature=self.temperature, top_p=self.top_p, seed=self.seed
        )

    def tokens(self) -> float:
        """As many forward passes as answers have tokens."""
        return float(self.most * (self.samples or 1000) * self.times)


def _unit(metric: str) -> str:
    if metric.startswith("distinct"):
        return "answers"
    return {"ended": "fraction of answers", "f1": "F1"}.get(metric, "fraction right")


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
