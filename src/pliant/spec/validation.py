"""What is wrong with a form, in the words of the person who wrote it: pydantic's findings without pydantic's phrases."""

from __future__ import annotations

import difflib
import inspect
import itertools
import json
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

NAMES_WIDTH = 240
"""Characters of the names that a message lists."""
NEEDED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "greater_than": "a number above {gt:g}",
    "greater_than_equal": "a number of at least {ge:g}",
    "less_than": "a number below {lt:g}",
    "less_than_equal": "a number of at most {le:g}",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "literal_error": "{expected}",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping such as {{name: value}}",
    "model_type": "a mapping of fields",
}
"""What would have been right, by pydantic's name of the mistake; in braces what pydantic tells beside it."""


def explain(error: ValidationError, spec: type[BaseModel]) -> str:
    """The most telling thing pydantic found wrong, in one line: a misspelt field before the field it leaves missing."""
    found = error.errors()
    first = min(found, key=lambda one: one["type"] != "extra_forbidden")
    place, owner = _place(first["loc"], spec)
    where = ".".join(place).replace(".#", ", item ")
    if first["type"] == "extra_forbidden":
        return f"unknown field {where!r}; {nearest(place[-1], owner.model_fields)}"
    if first["type"] == "missing":
        return f"field {where!r} is missing"
    here = [one for one in found if _place(one["loc"], spec)[0] == place]  # several where a field may be of several types
    return f"{where}: {_wrong(here)}" if where else _wrong(here)


def _wrong(found: Sequence[ErrorDetails]) -> str:
    """What is wrong with one value, and what would be right."""
    first = found[0]
    kind, value, context = first["type"], first["input"], first.get("ctx", {})
    if value is None:
        return "nothing is given"
    if kind == "string_too_short":
        return "must not be empty"
    if kind in ("too_short", "too_long"):
        count = context.get("min_length") or context["max_length"]
        return f"give at {'least' if kind == 'too_short' else 'most'} {'one' if count == 1 else count}"
    got = f" (got {_brief(value)})"
    if kind not in NEEDED:
        message = first["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ").removeprefix("Input ")
        return message if isinstance(value, dict) else message + got
    needed = " or ".join(dict.fromkeys(NEEDED[one["type"]].format(**one.get("ctx", {})) for one in found if one["type"] in NEEDED))
    plain = not isinstance(value, (list, tuple, dict))
    if kind in ("tuple_type", "list_type") and plain and not _text(value).startswith("["):
        return f"a list is needed, such as [{_text(value)}]{got}"
    if kind == "literal_error":
        guess = nearest(_text(value), re.findall(r"'([^']*)'", context["expected"]))
        return f"{needed} is needed{got}" + (f"; {guess}" if guess.startswith("did") else "")
    return f"{needed} is needed{got}" + ("; put it in quotes" if kind == "string_type" and plain else "")


def _place(loc: Sequence[int | str], spec: type[BaseModel]) -> tuple[list[str], type[BaseModel]]:
    """Where in the form it is, and the spec whose field that is. Pydantic's path also names the alternatives of unions: left out."""
    place: list[str] = []
    annotation, owner = typing.cast("Any", spec), spec
    for part in loc:
        alternatives = [member for member in members(annotation) if member is not types.NoneType]
        if len(alternatives) > 1:
            annotation = next((one for one in alternatives if getattr(one, "kind", None) == part), Any)  # the part says which
            continue
        place.append(f"#{part + 1}" if isinstance(part, int) else part)
        inside = alternatives[0]
        if inspect.isclass(inside) and issubclass(inside, BaseModel):
            owner = inside
            annotation = owner.model_fields[str(part)].annotation if str(part) in owner.model_fields else Any
        else:
            arguments = typing.get_args(inside)
            annotation = arguments[-1 if typing.get_origin(inside) is dict else 0] if arguments else Any
    return place, owner


def nearest(word: str, known: Iterable[str]) -> str:
    """`did you mean 'bits'?`, or what there is, as far as a line or two hold it."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    shown = [name for name, end in zip(names, itertools.accumulate(map(len, names)), strict=True) if end <= NAMES_WIDTH]
    more = f" and {len(names) - len(shown)} more" if len(shown) < len(names) else ""
    return f"known: {', '.join(shown) or 'none'}{more}"


def members(annotation: Any) -> Iterator[Any]:
    """The alternatives of a (possibly optional, union or annotated) type."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        yield from members(typing.get_args(annotation)[0])
    elif origin in (typing.Union, types.UnionType):
        for part in typing.get_args(annotation):
            yield from members(part)
    else:
        yield annotation


def holds_list(annotation: Any) -> bool:
    """Whether a list is among the alternatives of a type."""
    return any(typing.get_origin(one) in (list, tuple) or one in (list, tuple) for one in members(annotation))


def shown(value: Any) -> str:
    """A value as labels have it; specs by their own labels."""
    if isinstance(value, BaseModel):
        return str(getattr(value, "label", value.__repr__)())
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(shown(item) for item in typing.cast("Sequence[Any]", value)) + "]"
    return f"{value:g}" if isinstance(value, float) else json.dumps(value) if isinstance(value, dict) else str(value)


def _text(value: Any, write: Callable[[Any], str] = str) -> str:
    try:
        return write(value)
    except ValueError:  # a whole number of more digits than Python writes
        return "an endless number"


def _brief(value: Any) -> str:
    """A value as messages show it."""
    text = _text(value, shown if isinstance(value, (BaseModel, list, tuple)) else repr)
    return text if len(text) <= 80 else f"{text[:77]}..."
