"""A table of dialogues: questions with answers to learn, in any of the forms that fine-tuning data has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import Field

from pliant.data.dialogues import FORMATS, Turn, dialogue
from pliant.data.examined import Examined, Marked
from pliant.data.formats import Format
from pliant.data.rendering import Piece, pieces_of
from pliant.data.split import Part


class Table(Examined):
    """Questions and answers; a plain string is its `source`."""

    formats = FORMATS
    holds = "questions and answers"
    format: str | None = Field(default=None, description=f"What its columns are: {', '.join(FORMATS)}; by default as they are called")

    def fingerprint(self) -> str:
        """Of what the files hold: the first kind of table there was, whose keys do not name it."""
        return self.held()

    @classmethod
    def has(cls, columns: set[str]) -> bool:
        """Not where of two answers one is preferred."""
        return super().has(columns) and not {"chosen", "rejected"} <= columns

    def dialogues(self, part: Part = "train", skipped: Counter[str] | None = None) -> Iterator[tuple[int, list[Turn]]]:
        """The dialogues of a part with their ids, repeats left out. Raises PliantError that names the line at fault.

        With `skip_bad`, what cannot be learned from is left out and counted in `skipped`.
        """
        for number, turns, _ in self.examined(part, Counter() if skipped is None else skipped):
            yield number, turns

    def example(self, record: Mapping[str, Any], form: Format) -> list[Turn]:
        """Its turns."""
        return dialogue(record, form)

    def told(self, example: list[Turn]) -> Any:
        """Roles and texts."""
        return [[turn.role, turn.text] for turn in example]

    def pieces(self, example: list[Turn], template: Any) -> list[list[Piece]]:
        """One dialogue."""
        return [pieces_of(example, template)]

    def kept(self, members: Sequence[Marked]) -> bool:
        """A token of an answer behind the first token."""
        return any(members[0][1][1:])
