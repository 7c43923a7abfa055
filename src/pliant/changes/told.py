"""How a change's fields are told to people: one word or two each, in titles, tables and pictures."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, cast

from pliant.numbers import format_count
from pliant.spec import Content, Spec

if TYPE_CHECKING:
    from collections.abc import Sequence

COUNTS = ("tokens", "samples")
COUNTED = ("steps", "epochs")
"""Fields whose number says it best in front of their name: `30 steps`."""


def detail(name: str, value: Any) -> str:
    """A field that is not what it is by default."""
    words = name.replace("_", " ")
    if isinstance(value, bool):
        return words if value else f"no {words}"
    if isinstance(value, (int, float)):
        number = format_count(value) if name in COUNTS else f"{value:g}"
        return f"{number} {words.removesuffix('s') if value == 1 else words}" if name in COUNTED else f"{words} {number}"
    if isinstance(value, str):
        return value
    return f"{words} {shown(value)}"


def shown(value: Any) -> str:
    """A value in few words: a text by its name, a spec by its label."""
    if isinstance(value, Content):
        return corpus_name(value)
    if isinstance(value, Spec):
        return value.label()
    if isinstance(value, (list, tuple)):
        return ", ".join(shown(item) for item in cast("Sequence[Any]", value))
    return value if isinstance(value, str) else json.dumps(value, default=str)


def corpus_name(corpus: Content) -> str:
    """A corpus or table by its source: `code` for `builtin:code`, a file by its name."""
    return str(getattr(corpus, "source", corpus.label())).removeprefix("builtin:").removeprefix("hub:").rstrip("/").rsplit("/", 1)[-1]


def spelled_out(kind: str) -> str:
    """`weight_noise` -> `Weight noise`."""
    words = re.sub(r"_+", " ", kind).strip()
    return words[:1].upper() + words[1:]
