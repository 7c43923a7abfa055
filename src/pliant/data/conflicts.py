"""Conflicts: questions whose context says something else than what is known; from a table of them, or made from a table of facts.

| columns | the context's answer | what is known |
|---|---|---|
| `context`, `question`, `answer`, `memory_answer` | `answer` | `memory_answer` |
| `context`, `question`, `answer`, `parametric_answer` | `answer` | `parametric_answer` |

Facts become conflicts where `context` is a template with `{answer}` in it, which another fact of the table gives: `{source: P36.jsonl,
memory: obj_label, question: "What is the capital of {sub_label}?", context: "The capital of {sub_label} was moved to {answer}."}`. Which
fact it is depends on the question and on `seed`, not on the order of the table.
What goes wrong: where both answers are the same word for word nothing is in conflict, and the table is refused with its line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from pliant.data.fields import Wanted, holes
from pliant.data.locate import locate
from pliant.data.located import Located
from pliant.data.rows import rows
from pliant.errors import PliantError
from pliant.spec import digest, nearest

MEMORIES = ("memory_answer", "parametric_answer")
"""What tables call the answer that is known."""
GIVEN = "answer"
"""The answer of the context, in tables and in templates."""


@dataclass(frozen=True)
class Conflict:
    """A question, a context that answers it, and what is known besides. `id` is that of the question, which others may share."""

    id: str
    context: str
    question: str
    given: str
    known: str


class Conflicts(Located):
    """Questions with contexts that contradict what is known; a plain string is its `source`."""

    question: str = Field("question", min_length=1, description="The column of the question, or a template: `Where was {sub_label} born?`")
    context: str = Field("context", min_length=1, description="The column of the context, or a template, with `{answer}` in it where made")
    memory: str | None = Field(
        None, min_length=1, description=f"The column of the answer that is known; by default {' or '.join(MEMORIES)}"
    )
    seed: int = Field(0, ge=0, description="Of conflicts that are made: which other fact gives the answer")

    def fingerprint(self) -> str:
        """Of what the files hold, and of what is made of it. Raises PliantError for files that cannot be found or read."""
        return digest(json.dumps([super().fingerprint(), self.question, self.context, self.memory, self.seed]))

    @classmethod
    def has(cls, columns: set[str]) -> bool:
        """Whether a table with these columns is one of conflicts as it is."""
        return {"context", "question", GIVEN} <= columns and bool(columns & set(MEMORIES))

    def conflicts(self) -> Iterator[Conflict]:
        """Every conflict, in the order they are stored.

        Raises PliantError that names the line at fault: a column that is not there, an empty text, answers that coincide.
        """
        told = list(rows(locate(self.source)))
        if not told:
            raise PliantError(f"{self.source}: the set is empty")
        memory = self.memory or next((name for name in MEMORIES if name in told[0][1]), MEMORIES[0])
        question, context = Wanted(self.question), Wanted(self.context)
        others = sorted({plain_text(record, memory) for _, record in told} - {""}) if self.made(told[0][1]) else []
        for where, record in told:
            try:
                _check(record, (*_names(self.question), memory))
                asked, known = question.text(record).strip(), plain_text(record, memory)
                given = _other(others, known, digest(f"{asked} {self.seed}")) if others else plain_text(record, GIVEN)
                filled = {**record, GIVEN: given}
                _check(filled, _names(self.context))
                yield _conflict(asked, context.text(filled).strip(), given, known)
            except PliantError as error:
                raise error.within(where) from None

    def made(self, record: Mapping[str, Any]) -> bool:
        """Whether answers come from other records."""
        return GIVEN in _names(self.context) and GIVEN not in record


def alike(one: str, other: str) -> bool:
    """Whether two answers are the same but for case and spaces."""
    return " ".join(one.casefold().split()) == " ".join(other.casefold().split())


def plain_text(record: Mapping[str, Any], name: str) -> str:
    """One column as text, of numbers too; empty where there is none."""
    value = record.get(name)
    if isinstance(value, (list, dict, bool)):
        raise PliantError(f"field {name[:40]!r} holds {type(value).__name__}, not text")
    return "" if value is None else str(value).strip()


def _conflict(asked: str, context: str, given: str, known: str) -> Conflict:
    texts = {"question": asked, "context": context, "answer of the context": given, "answer that is known": known}
    if empty := next((name for name, text in texts.items() if not text), None):
        raise PliantError(f"the {empty} is empty")
    if alike(given, known):
        raise PliantError(f"the answer of the context, {given[:40]!r}, is also the one that is known, so nothing is in conflict; remove it")
    return Conflict(digest(asked), context, asked, given, known)


def _other(answers: Sequence[str], known: str, drawn: str) -> str:
    """One of the answers that is not the known one."""
    rest = [answer for answer in answers if not alike(answer, known)]
    if not rest:
        raise PliantError(f"every fact has the answer {known[:40]!r}, so none is in conflict with it")
    return rest[int(drawn, 16) % len(rest)]


def _names(template: str) -> tuple[str, ...]:
    return holes(template) if "{" in template else (template,)


def _check(record: Mapping[str, Any], names: Sequence[str]) -> None:
    if missing := next((name for name in names if name not in record), None):
        raise PliantError(f"no field {missing[:40]!r}; {nearest(missing, record)}")
