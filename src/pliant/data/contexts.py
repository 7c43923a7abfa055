"""Answers that are given from a context: each question with it, and the same question without.

| columns | the context | the question |
|---|---|---|
| `instruction`, `input`, `output` (Alpaca) | `input` | `instruction` |
| `instruction`, `context`, `response` | `context` | `instruction` |
| `context`, `question`, `answer` | `context` | `question` |

An example has the id that a table of dialogues gives it, so that what is chosen here is found there (`select`). One without a context is
left out, and counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pliant.data.dialogues import FORMATS, Turn, dialogue, text_of
from pliant.data.examined import Examined, Marked
from pliant.data.formats import Format, named
from pliant.data.rendering import Piece, pieces_of
from pliant.errors import PliantError

Told = tuple[list[Turn], list[Turn], list[Turn]]
"""The turns as a table of dialogues has them, those with the context, and those without."""


def _read(context: str, question: str, answer: str, first: bool) -> Format:
    """`first`: the context stands before the question."""

    def read(record: Mapping[str, Any]) -> Told:
        asked, given, answered = (text_of(record, name).strip() for name in (question, context, answer))
        if not asked or not answered:
            raise PliantError(f"the {question if not asked else answer} is empty")
        parts = [given, asked] if first else [asked, given]
        answers = [Turn("assistant", text_of(record, answer))]
        whole = [Turn("user", "\n\n".join(filter(None, parts))), *answers]
        known = next((form for form in FORMATS.values() if set(form.needs) <= {question, context, answer}), None)
        own = whole if known is None else dialogue(record, known)
        return own, whole, [Turn("user", asked), *answers] if given else []

    return Format(f"{context} of {question}", (question, context, answer), read)


class Contexts(Examined):
    """Questions with a context and answers; a plain string is its `source`."""

    formats = named(
        _read("input", "instruction", "output", False),
        _read("context", "instruction", "response", True),
        _read("context", "question", "answer", True),
    )
    holds = "questions with a context, and answers"

    def example(self, record: Mapping[str, Any], form: Format) -> Told:
        """Its turns, three times."""
        return form.read(record)

    def told(self, example: Told) -> Any:
        """Roles and texts, as a table of dialogues has them."""
        return [[turn.role, turn.text] for turn in example[0]]

    def pieces(self, example: Told, template: Any) -> list[list[Piece]]:
        """With the context, and without it; nothing to learn where there is none."""
        _, given, bare = example
        if not bare:
            return [[Piece(given[0].text, False)]] * 2
        return [pieces_of(turns, template) for turns in (given, bare)]

    def kept(self, members: Sequence[Marked]) -> bool:
        """A token of the answer behind the first token, in both."""
        return all(any(marks[1:]) for _, marks in members)
