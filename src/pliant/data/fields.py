"""Which of a record's fields is its text. A field that is missing, null or empty is one thing: no text."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

from pliant.errors import PliantError
from pliant.spec import nearest

TEXT_FIELDS = ("text", "content", "document", "body", "markdown", "code", "raw_content", "sentence")
"""The usual names, in the order they are tried."""

EXCHANGES = (
    ("question", "answer"),
    ("instruction", "input", "output"),
    ("prompt", "completion"),
    ("prompt", "response"),
)
"""What fine-tuning data usually calls its fields; where none is a text, those of the first that fits are joined by line ends."""

CHATS = ("messages", "conversations", "conversation", "chat", "dialogue", "turns")
"""What chat data calls its turns."""

PATIENCE = 100_000
"""Records after which a field that none of them had is not waited for any longer."""

_NAMES = 1000  # most names of fields that are kept to be told
_OPTIONAL = {"input"}
_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


class Wanted:
    """The fields that are asked for: a name, a template, or None for the usual ones. Used for the records of one corpus, in order.

    Raises PliantError for a template that is none.
    """

    def __init__(self, field: str | None) -> None:
        self.template = field if field and "{" in field else None
        self.named = holes(self.template) if self.template else (field,) if field else ()
        self._unseen = set(self.named)
        self._usual: tuple[str, ...] = ()
        self._records = 0
        self._names: dict[str, None] = {}  # of all records, to say what there is

    def text(self, record: Any) -> str:
        """The text of one record: a string, or a mapping of fields. Raises PliantError for anything else."""
        if isinstance(record, str) and not self.named:
            return record
        if not isinstance(record, Mapping):
            raise PliantError(f"a record must be a mapping of fields, not {_called(record)}")
        fields = cast("Mapping[str, Any]", record)
        if self._unseen:
            self._look_for(fields)
        if self.template:
            return _PART.sub(lambda part: _plain(fields, part[1]) if part[1] else part[0][0], self.template)
        wanted = self.named or self._usual_of(fields)
        if len(wanted) == 1:
            _refuse_number(fields, wanted[0])
        return "\n".join(filter(None, (_plain(fields, name) for name in wanted)))

    def columns(self, names: Sequence[str], whose: str = "column") -> list[str]:
        """Those of a table's columns that are needed. Raises PliantError where there is none, and where two have one name."""
        wanted = self.named or usual(tuple(names))
        found = [name for name in dict.fromkeys(wanted) if name in names]
        if not found:
            raise PliantError(f"no field {_short(wanted[0])!r}; {nearest(wanted[0], names)}")
        for name in found:
            if names.count(name) > 1:
                raise PliantError(f"{names.count(name)} {whose}s are called {_short(name)!r}; rename all but one")
        self._names |= dict.fromkeys(names)
        return found

    def check(self) -> None:
        """At the end of the records: raises PliantError when none had a field that was asked for."""
        if self._unseen and self._records:
            name = min(self._unseen, key=self.named.index)
            raise PliantError(f"no field {_short(name)!r} in any of {self._records} records; {nearest(name, self._names)}")

    def _look_for(self, fields: Mapping[str, Any]) -> None:
        if len(self._names) < _NAMES:
            self._names |= dict.fromkeys(fields)
        self._unseen.difference_update(fields)
        self._records += 1
        if self._records >= PATIENCE:
            self.check()

    def _usual_of(self, fields: Mapping[str, Any]) -> tuple[str, ...]:
        """What earlier records had stays the choice for those that lack some of it."""
        if fields:
            self._usual = usual(tuple(fields), alone=not self._usual) or self._usual
        return self._usual


@lru_cache(maxsize=1024)
def usual(names: tuple[str, ...], alone: bool = True) -> tuple[str, ...]:
    """The fields that are the text where none are asked for, of records with these names; an only field is, where `alone` allows.

    Raises PliantError when it cannot be told, and where it is not allowed gives nothing.
    """
    for name in TEXT_FIELDS:
        if name in names:
            return (name,)
    for parts in EXCHANGES:
        if set(parts) - _OPTIONAL <= set(names):
            return parts
    for name in CHATS:
        if name in names:
            return (name,)
    if not alone:
        return ()
    if len(names) == 1:
        return names
    told = ", ".join(_short(name) for name in names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    raise PliantError(
        f"which field is the text? There are {told or 'none'}; say field: NAME, or a template such as field: '{{title}}\\n{{abstract}}'"
    )


def holes(template: str) -> tuple[str, ...]:
    """The names in a template's braces; two braces stand for one. Raises PliantError for a brace that belongs to no name."""
    names: list[str] = []
    for part in _PART.finditer(template):
        if part[0] in "{}" or part[1] == "":
            raise PliantError(
                f"the template {template[:60]!r} has a brace that belongs to no field; write {{NAME}} for a field, {{{{ and }}}} for braces"
            )
        names += [part[1]] if part[1] else []
    if not names:
        raise PliantError(f"the template {template[:60]!r} names no field; write {{NAME}} where a field's text belongs")
    return tuple(names)


def _plain(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, float) and math.isnan(value)):  # what tables of numbers have for null
        return ""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return str(value)
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        raise PliantError(
            f"field {_short(name)!r} holds a chat (a list of turns), which is not read as it is; make one text of each record's "
            'turns, as apply_chat_template of transformers does, and store it as {"text": ...}, or as fields question and answer'
        )
    raise PliantError(f"field {_short(name)!r} holds {_called(cast('object', value))}, not text")


def _refuse_number(fields: Mapping[str, Any], name: str) -> None:
    value = fields.get(name)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value == value:
        raise PliantError(
            f"field {_short(name)!r} holds a number, not text; name another, or write '{{{_short(name)}}}' if digits are the text"
        )


def _short(name: str) -> str:
    return name if name.isprintable() and len(name) <= 40 else repr(name[:40])


def _called(value: object) -> str:
    """What a value is, in words of JSON."""
    kind = type(value).__name__
    names = {"NoneType": "null", "dict": "a mapping", "list": "a list", "bool": "true or false", "int": "a number", "float": "a number"}
    return names.get(kind, kind)
