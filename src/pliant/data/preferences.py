"""Preferences: two answers to one question, of which one was chosen and one rejected.

Idea: both answers become whole dialogues; what they begin with alike, turn by turn, is the question, and only what follows is learned.
So a prompt may stand in a column of its own, in both answers, or in both places. Null, missing and empty are one thing.

| columns | what was asked |
|---|---|
| `chosen`, `rejected` alone: lists of messages | the messages that both begin with |
| the same: transcripts (`\\n\\nHuman: ...\\n\\nAssistant: ...`) | the turns that both begin with |
| the same: other text | nothing; each text is an answer |
| `prompt`, text, a transcript or messages | the prompt |
| `conversations` (ShareGPT) | its turns |
| `instruction`, `input` (Alpaca) | both, an empty line between them |
| `question` | the question |

In each of them an answer is text, a message, or a list of messages.
What goes wrong: an answer that is empty, and two that are the same, teach nothing; neither do two whose difference lies beyond the length.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from pliant.data.dialogues import Role, Turn, check_order, instructed, said, text_of
from pliant.data.examined import Examined, Marked
from pliant.data.formats import Format, named
from pliant.data.rendering import Piece, pieces_of
from pliant.errors import PliantError

ANSWERS = ("chosen", "rejected")
_SPEAKER = re.compile(r"\n\n(Human|Assistant):")
_ROLES: dict[str, Role] = {"Human": "user", "Assistant": "assistant"}


@dataclass(frozen=True)
class PreferencePair:
    """Two whole dialogues; the first `shared` turns of both are what was asked."""

    chosen: tuple[Turn, ...]
    rejected: tuple[Turn, ...]
    shared: int


def preference(record: Mapping[str, Any], form: Format) -> PreferencePair:
    """What a record says.

    Raises PliantError where an answer is missing or empty, nobody answers, both are the same, or turns are in the wrong order.
    """
    asked: list[Turn] = form.read(record)
    chosen, rejected = (_whole(record, name, asked) for name in ANSWERS)
    if chosen == rejected:
        raise PliantError("chosen and rejected are the same")
    alike = next((n for n, (one, other) in enumerate(zip(chosen, rejected, strict=False)) if one != other), min(len(chosen), len(rejected)))
    shared = min(alike, len(chosen) - 1, len(rejected) - 1)
    for name, turns in zip(ANSWERS, (chosen, rejected), strict=True):
        if turns[-1].role != "assistant":
            raise PliantError(f"{name} ends with a turn of the {turns[-1].role}, not with an answer")
        if any(turn.role == "assistant" and not turn.text.strip() for turn in turns[shared:]):
            raise PliantError(f"the answer in {name} is empty")
        if len(turns) > 1:  # an answer may stand alone, to nothing that was asked
            check_order(turns, f"{name}: ")
    return PreferencePair(chosen, rejected, shared)


def _whole(record: Mapping[str, Any], name: str, asked: Sequence[Turn]) -> tuple[Turn, ...]:
    """The dialogue that an answer makes with what was asked, unless it begins with that itself. Raises PliantError for no answer."""
    value, prompt = record.get(name), record.get("prompt")
    if _is_transcript(prompt) and isinstance(value, str) and not _is_transcript(value):
        value = f"{prompt}{value}"
    turns = _heard({name: value}, name, "assistant")
    turns = [turn for turn in turns[:-1] if turn.text.strip()] + turns[-1:]
    if turns[: len(asked)] != list(asked):
        turns = [*asked, *turns]
    if len(turns) == len(asked):
        raise PliantError(f"the answer in {name} is empty")
    return tuple(turns)


def _asked(*readers: Callable[[Mapping[str, Any]], list[Turn]]) -> Callable[[Mapping[str, Any]], list[Turn]]:
    """What was asked, by several readers one after the other; turns without words are none."""
    return lambda record: [turn for read in readers for turn in read(record) if turn.text.strip()]


def _field(name: str) -> Callable[[Mapping[str, Any]], list[Turn]]:
    return lambda record: _heard(record, name, "user")


def _system(record: Mapping[str, Any]) -> list[Turn]:
    return [Turn("system", text_of(record, "system"))]


def _heard(record: Mapping[str, Any], name: str, role: Role) -> list[Turn]:
    """A field that is a transcript, a text of `role`, a message, or a list of messages."""
    value = record.get(name)
    if not _is_transcript(value):
        return said(record, name, role)
    parts = _SPEAKER.split(str(value))
    return [Turn(_ROLES[speaker], text.strip()) for speaker, text in zip(parts[1::2], parts[2::2], strict=True)]


def _is_transcript(value: Any) -> bool:
    return isinstance(value, str) and _SPEAKER.match(value) is not None


PREFERENCES = named(
    Format("prompt", ("prompt", *ANSWERS), _asked(_system, _field("prompt"))),
    Format("conversations", ("conversations", *ANSWERS), _asked(_system, _field("conversations"))),
    Format("instruction", ("instruction", *ANSWERS), _asked(instructed)),
    Format("question", ("question", *ANSWERS), _asked(_system, _field("question"))),
    Format("whole", ANSWERS, _asked(_system)),
)
"""By name, in the order in which they are tried."""


class Preferences(Examined):
    """Pairs of answers, one preferred; a plain string is its `source`."""

    formats = PREFERENCES
    holds = "a chosen and a rejected answer"
    format: str | None = Field(default=None, description=f"What its columns are: {', '.join(PREFERENCES)}; by default as they are called")

    def example(self, record: Mapping[str, Any], form: Format) -> PreferencePair:
        """Both answers."""
        return preference(record, form)

    def told(self, example: PreferencePair) -> Any:
        """Roles and texts of both."""
        return [[[turn.role, turn.text] for turn in turns] for turns in (example.chosen, example.rejected)]

    def pieces(self, example: PreferencePair, template: Any) -> list[list[Piece]]:
        """The chosen dialogue, then the rejected one."""
        return [pieces_of(turns, template, example.shared) for turns in (example.chosen, example.rejected)]

    def kept(self, members: Sequence[Marked]) -> bool:
        """A token of each answer, and a difference between them."""
        return members[0][0] != members[1][0] and all(any(learned[1:]) for _, learned in members)
