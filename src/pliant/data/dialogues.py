"""Dialogues: what fine-tuning data says, whatever its columns are called, as turns of somebody who asks and an assistant.

Idea: a format is known by the columns of a record. Each becomes a list of turns; loss is taken on the assistant's. Null, missing and
empty are one thing: no text.

| columns | the turns |
|---|---|
| `messages` (also `conversation`, `chat`): `{role, content}` | as they are |
| `conversations` (ShareGPT): `{from, value}` | human and user ask, gpt and assistant answer |
| `prompt`, `completion` (or `response`), text or messages | one asks, one answers |
| `instruction`, `input`, `output` (Alpaca) | instruction and input, an empty line between them, ask |
| `question`, `answer` | one asks, one answers |

What goes wrong: an answer that is empty teaches nothing. Turns in another order than a system's, then a question and an answer by turns,
are refused, whatever a template would make of them: most data sets that hold them were cut in the wrong place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from pliant.data.formats import Format, check_columns, named
from pliant.errors import PliantError
from pliant.spec import nearest

Role = Literal["system", "user", "assistant"]

ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
}
"""What data sets call them."""


@dataclass(frozen=True)
class Turn:
    """What one of them says."""

    role: Role
    text: str


def dialogue(record: Mapping[str, Any], form: Format) -> list[Turn]:
    """The turns of a record, at least one of them the assistant's.

    Raises PliantError for a column that is missing, turns that are none or in the wrong order, and an assistant who says nothing.
    """
    check_columns(record, form)
    turns = [turn for turn in form.read(record) if turn.text or turn.role == "assistant"]
    if not any(turn.role == "assistant" for turn in turns):
        raise PliantError(f"nobody answers: no turn is the assistant's (format {form.name})")
    empty = [number for number, turn in enumerate(turns, 1) if not turn.text.strip()]
    if empty:
        raise PliantError(f"the answer in turn {empty[0]} is empty (format {form.name})")
    check_order(turns)
    return turns


def check_order(turns: Sequence[Turn], where: str = "") -> None:
    """Raises PliantError for turns that do not go by turns: a system first if at all, then somebody who asks, then an answer."""
    before: Role = "system"
    for number, turn in enumerate(turns, 1):
        if turn.role == "system" and number > 1:
            raise PliantError(f"{where}turn {number} is the system's, which speaks first or not at all")
        if turn.role == "assistant" and before == "system":
            raise PliantError(f"{where}nobody asks before the answer in turn {number}")
        if turn.role == before != "system":
            raise PliantError(f"{where}turns {number - 1} and {number} are both the {turn.role}'s; make one of them")
        before = turn.role


def text_of(record: Mapping[str, Any], name: str) -> str:
    """A field's text; null, missing and empty are one thing. Raises PliantError for what is no text."""
    value = record.get(name)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise PliantError(f"field {name!r} holds {type(value).__name__}, not text")
    return value


def said(record: Mapping[str, Any], name: str, role: Role) -> list[Turn]:
    """A field that is one turn, as text or as a message, or a list of messages that ends with one. Raises PliantError for anything else."""
    value = record.get(name)
    if isinstance(value, Mapping):
        value = [value]
    return messages_of(value, name) if isinstance(value, list) else [Turn(role, text_of(record, name))]


def messages_of(value: Any, name: str) -> list[Turn]:
    """The turns of a list of messages; none of null. Raises PliantError for what is no such list."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise PliantError(f"field {name!r} holds {type(value).__name__}, not a list of turns")
    return [_message(turn, f"{name}, turn {number}") for number, turn in enumerate(cast("list[Any]", value), 1)]


def _message(turn: Any, where: str) -> Turn:
    if not isinstance(turn, Mapping):
        raise PliantError(f"{where}: is {type(turn).__name__}, not a mapping with role and content")
    fields = cast("Mapping[str, Any]", turn)
    role = fields.get("role", fields.get("from"))
    if role is None or role == "":
        raise PliantError(f"{where}: has no role; the known are system, user and assistant, and what data sets call them")
    if str(role).lower() not in ROLES:
        raise PliantError(f"{where}: unknown role {str(role)[:40]!r}; {nearest(str(role)[:40], ROLES)}")
    content = fields.get("content", fields.get("value"))
    if isinstance(content, list):  # the parts that chat interfaces send: text, and what is no text
        parts = cast("list[Any]", content)
        if not all(isinstance(part, Mapping) and part.get("type", "text") == "text" for part in parts):
            raise PliantError(f"{where}: holds parts that are not text")
        content = "".join(text_of(part, "text") for part in parts)
    return Turn(ROLES[str(role).lower()], text_of({"content": content}, "content"))


def _listed(name: str) -> Callable[[Mapping[str, Any]], list[Turn]]:
    return lambda record: messages_of(record.get(name), name)


def _asked(question: str, answer: str) -> Callable[[Mapping[str, Any]], list[Turn]]:
    return lambda record: [*said(record, question, "user"), *said(record, answer, "assistant")]


def _alpaca(record: Mapping[str, Any]) -> list[Turn]:
    return [*instructed(record), Turn("assistant", text_of(record, "output"))]


def instructed(record: Mapping[str, Any]) -> list[Turn]:
    """What Alpaca's columns ask."""
    asked = "\n\n".join(filter(None, (text_of(record, "instruction"), text_of(record, "input"))))
    return [Turn("system", text_of(record, "system")), Turn("user", asked)]


FORMATS = named(
    Format("messages", ("messages",), _listed("messages")),
    Format("conversations", ("conversations",), _listed("conversations")),
    Format("conversation", ("conversation",), _listed("conversation")),
    Format("chat", ("chat",), _listed("chat")),
    Format("completion", ("prompt", "completion"), _asked("prompt", "completion")),
    Format("response", ("prompt", "response"), _asked("prompt", "response")),
    Format("alpaca", ("instruction", "output"), _alpaca),
    Format("question", ("question", "answer"), _asked("question", "answer")),
)
"""By name, in the order in which they are tried."""
