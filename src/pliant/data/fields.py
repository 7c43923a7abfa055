"""Which of a record's fields is its text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast

from pliant.errors import PliantError
from pliant.spec import nearest

TEXT_FIELDS = ("text", "content", "document", "body", "markdown", "code", "raw_content", "sentence")
"""The usual names, in the order they are tried."""

EXCHANGES = (
    ("question", "answer"),
    ("instruction", "input", "output"),
    ("instruction", "output"),
    ("prompt", "completion"),
    ("prompt", "response"),
)
"""What fine-tuning data usually calls its fields; where none is a text, those of the first that fits are joined by line ends."""

_HOLE = re.compile(r"\{([^{}]+)\}")


@lru_cache(maxsize=1024)
def fields_for(names: tuple[str, ...], field: str | None) -> tuple[str, ...]:
    """The fields of a record (all of whose fields are `names`) that `field` asks for: a name, a template, or None for the usual.

    Raises PliantError for a name that is not there, with the nearest that is.
    """
    if field is None:
        usual = [(name,) for name in TEXT_FIELDS if name in names] or [parts for parts in EXCHANGES if set(parts) <= set(names)]
        if not usual and len(names) != 1:
            raise PliantError(
                f"which field is the text? There are {', '.join(names) or 'none'}; "
                "say field: NAME, or a template such as field: '{title}\\n{abstract}'"
            )
        return usual[0] if usual else names
    wanted = (field,) if field in names else tuple(_HOLE.findall(field)) or (field,)
    for name in wanted:
        if name not in names:
            raise PliantError(f"no field {name!r}; {nearest(name, names)}")
    return wanted


def text_of(record: Any, field: str | None) -> str:
    """The text of one record: a string, or a mapping of fields. Raises PliantError for anything else."""
    if isinstance(record, str) and field is None:
        return record
    if not isinstance(record, Mapping):
        raise PliantError(f"a record must be a mapping of fields, not {type(record).__name__}")
    fields = cast("Mapping[str, Any]", record)
    wanted = fields_for(tuple(fields), field)
    if field is None or field in fields:
        return "\n".join(filter(None, (_plain(fields, name) for name in wanted)))
    return _HOLE.sub(lambda hole: _plain(fields, hole[1]), field)


def _plain(record: Mapping[str, Any], name: str) -> str:
    value = record[name]
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise PliantError(f"field {name!r} holds {'null' if value is None else type(value).__name__}, not text")
