"""The questions of a study, answered: what the end of `pliant run` and a report show.

A question that has no answer, whatever the reason, says so and keeps nothing else from being shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pliant.errors import PliantError, named
from pliant.study.question import QUESTIONS, AnyDecision, Question, Row

if TYPE_CHECKING:
    from pliant.ledger.ledger import Ledger


@dataclass(frozen=True)
class Answered:
    """One question with its answers, or with why there are none."""

    title: str
    question: Any
    """As a study file says it."""
    answers: Sequence[AnyDecision] = ()
    tables: Mapping[str, Sequence[Row]] = field(default_factory=dict[str, list[Row]])
    """The same for people; see `Question.tables`."""
    undecided: str = ""
    """Why there are no answers, in one line."""

    def json(self) -> dict[str, Any]:
        """Plain values."""
        return {"question": self.question, "answers": [found.json() for found in self.answers], "undecided": self.undecided or None}

    def __str__(self) -> str:
        return f"{self.title}: {self.undecided}" if self.undecided else "\n".join([self.title, *map(str, self.answers)])


def answer_each(asked: Iterable[Any], ledger: Ledger, *, charted: bool = True) -> list[Answered]:
    """Every question of `asked`, specs or forms, answered from `ledger`; without `charted`, those that reports draw are left out."""
    found: list[Answered] = []
    for form in asked:
        try:
            questions = QUESTIONS.expand(form)
        except PliantError as error:  # of a package that is not installed here
            found.append(Answered("Not known here", form, undecided=_line(error)))
            continue
        found += [_answered(question, ledger) for question in questions if charted or not question.charted]
    return found


def _answered(question: Question, ledger: Ledger) -> Answered:
    try:
        answers = question.answer(ledger)
        tables = question.tables(answers) if answers else {}
    except Exception as error:  # whatever a question does, what was measured is there and is shown
        return Answered(question.title(), question.form(), undecided=_line(error))
    return Answered(question.title(), question.form(), answers, tables, "" if answers else "nothing was found to answer it from")


def _line(error: Exception) -> str:
    return " ".join(named(error).split())
