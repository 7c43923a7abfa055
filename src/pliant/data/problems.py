"""Problems with a number for an answer: GSM8K, SVAMP, and tables of one's own with `question` and `answer`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pliant.data.locate import locate
from pliant.data.located import Located
from pliant.data.rows import rows
from pliant.errors import PliantError
from pliant.spec import digest, nearest


@dataclass(frozen=True)
class Problem:
    """What is asked, and the worked answer, whose last number counts. `id` is stable."""

    id: str
    question: str
    answer: str


class ProblemSet(Located):
    """Problems with answers; a plain string is its `source`."""

    def problems(self) -> Iterator[Problem]:
        """Every problem, in the order they are stored. Raises PliantError that names the line at fault."""
        empty = True
        for where, record in rows(locate(self.source)):
            empty = False
            question, answer = _asked(record, where)
            yield Problem(digest(f"{question}\n{answer}"), question, answer)
        if empty:
            raise PliantError(f"{self.source}: the set is empty")


def _asked(record: Mapping[str, Any], where: str) -> tuple[str, str]:
    if {"Body", "Question", "Answer"} <= set(record):  # SVAMP
        body = str(record["Body"]).strip()
        question, answer = f"{body}{'' if body.endswith('.') else '.'} {record['Question']}", record["Answer"]
    elif {"question", "answer"} <= set(record):
        question, answer = record["question"], record["answer"]
    else:
        raise PliantError(f"{where}: no fields question and answer; {nearest('question', record)}")
    answer = f"{answer:g}" if isinstance(answer, float) else str(answer if answer is not None else "")
    if not str(question or "").strip() or not answer.strip():
        raise PliantError(f"{where}: question or answer is empty")
    return str(question), answer
