"""Questions with an answer, or with several that are as good: GSM8K, SVAMP, NQ-open, WebQuestions, and tables of one's own.

| columns | sets |
|---|---|
| `Body`, `Question`, `Answer` | SVAMP |
| `qText`, `answers` | WebQuestions |
| `question`, `answer` (or `answers`), a text, a number or a list of texts | GSM8K, NQ-open, one's own |

Other columns are named: `{source: P19.jsonl, question: "Where was {sub_label} born?", answer: obj_label}` reads the facts of PARAREL.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from pliant.data.fields import Wanted, holes
from pliant.data.locate import locate
from pliant.data.located import Located
from pliant.data.rows import rows
from pliant.errors import PliantError
from pliant.spec import digest, nearest

COLUMNS = (("question", "answer"), ("question", "answers"), ("qText", "answers"), ("Question", "Answer"))
"""What sets call a question and its answer, in the order in which they are tried."""


@dataclass(frozen=True)
class Problem:
    """What is asked, and the answers, each of which is right; of a worked answer the last number counts. `id` is stable."""

    id: str
    question: str
    answers: tuple[str, ...]
    listed: bool = False
    """Whether the set lists answers, even where that is only one."""

    @property
    def answer(self) -> str:
        """The first, which is shown where one is shown."""
        return self.answers[0]


class ProblemSet(Located):
    """Problems with answers; a plain string is its `source`."""

    question: str | None = Field(
        default=None, min_length=1, description="The column of the question, or a template such as `Where was {sub_label} born?`"
    )
    answer: str | None = Field(default=None, min_length=1, description="The column of the answer, or of a list of answers")

    @model_serializer(mode="wrap")
    def _as_called(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without columns that are called as usual, so that records from before there was a choice keep their keys."""
        absent = {name for name in ("question", "answer") if getattr(self, name) is None}
        return {name: value for name, value in handler(self).items() if name not in absent}

    def problems(self, answered: bool = True) -> Iterator[Problem]:
        """Every problem, in the order they are stored; `answered` false: the questions alone, whatever their answers are.

        Raises PliantError that names the line at fault.
        """
        empty, template = True, Wanted(self.question)
        for where, record in rows(locate(self.source)):
            empty = False
            try:
                question, answer = self._asked(record, template, answered)
                if not question.strip():
                    raise PliantError("question or answer is empty" if answered else "the question is empty")
                if not answered:
                    yield Problem(digest(question), question, ())
                    continue
                listed = isinstance(answer, list)
                answers = tuple(map(_text, cast("list[Any]", answer) if listed else [answer]))
                if not answers or not all(text.strip() for text in answers):
                    raise PliantError("question or answer is empty")
            except PliantError as error:
                raise error.within(where) from None
            yield Problem(digest(f"{question}\n{answer if listed else answers[0]}"), question, answers, listed)
        if empty:
            raise PliantError(f"{self.source}: the set is empty")

    def _asked(self, record: Mapping[str, Any], template: Wanted, with_answer: bool) -> tuple[str, Any]:
        """The question, and what stands for the answer, if it is wanted. Raises PliantError for columns that are not there."""
        usual = next((names for names in COLUMNS if set(names[: 1 + with_answer]) <= set(record)), COLUMNS[0])
        asked, answered = self.question or usual[0], self.answer or usual[1]
        needed = (*(holes(asked) if "{" in asked else (asked,)), *((answered,) if with_answer else ()))
        if missing := [name for name in needed if name not in record]:
            raise PliantError(f"no field {missing[0][:40]!r}; {nearest(missing[0], record)}")
        if self.question is not None:
            return template.text(record), record.get(answered)
        question = str(record[asked] if record[asked] is not None else "")
        if asked == "Question" and "Body" in record:  # SVAMP
            body = str(record["Body"]).strip()
            question = f"{body}{'' if body.endswith('.') else '.'} {question}"
        return question, record.get(answered)


def _text(answer: Any) -> str:
    """Raises PliantError for what is no answer in words or a number."""
    if answer is None:
        return ""
    if isinstance(answer, bool) or not isinstance(answer, (str, int, float)):
        raise PliantError(f"an answer is {type(answer).__name__}, which is neither text nor a number")
    return f"{answer:g}" if isinstance(answer, float) else str(answer)
