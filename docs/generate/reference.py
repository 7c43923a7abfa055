"""Writes docs/reference.md: what a study file may hold, every kind and every law, from the docstrings and typed fields in the code."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from architecture import every_room, faces
from sources import Module, first_line


def reference() -> str:
    """The whole reference as Markdown."""
    return "\n".join(_lines()).rstrip() + "\n"


def _lines() -> Iterator[str]:
    from pliant.data import Corpus
    from pliant.models import FolderLadder, HubLadder
    from pliant.study.study import Study
    from pliant.train.ladder import TrainedLadder
    from pliant.train.new_model import NewModel
    from pliant.train.recipe import Recipe

    yield "# Reference\n"
    yield "Written by `make docs` from the code; do not edit.\n"
    yield "## Study files\n"
    for spec in (Study, TrainedLadder, NewModel, FolderLadder, HubLadder, Recipe, Corpus):
        yield from _entry(spec, spec.__name__)
    yield from _axes()
    told: list[Any] = []
    for name in every_room():
        for face in faces(name):
            for catalog in _catalogs(face):
                if any(catalog is other for other in told):  # a face that hands on another's
                    continue
                told.append(catalog)
                yield from _kinds(face, catalog)


def _catalogs(face: Module) -> list[Any]:
    """Every catalog among the public names of a room."""
    from pliant.spec import Catalog

    named = [name for name in face.public() if name.isupper()]
    room = importlib.import_module(face.name) if named else None
    return [value for name in named if isinstance(value := getattr(room, name), Catalog) or name == "LAWS"]


def _kinds(face: Module, catalog: Any) -> Iterator[str]:
    """A catalog's kinds, below what its room says of them."""
    title = f"{getattr(catalog, 'noun', 'law').replace('_', ' ').capitalize()}s"
    said, _, idea = first_line(face.tree).partition(". ")[0].rstrip(".").partition(": ")
    yield f"## {title}\n"
    if said == title and idea:
        yield f"{idea[:1].upper()}{idea[1:]}.\n"
    for kind, spec in sorted((catalog.specs() if hasattr(catalog, "specs") else catalog).items()):
        yield from _entry(spec, f"`{kind}`") if hasattr(spec, "model_fields") else _law(kind, spec)


def _axes() -> Iterator[str]:
    from pliant.axes import AXES

    yield "## Axes\n"
    yield _card(next(iter(AXES.values()))) + "\n"
    yield "| axis | runs over | a place on it | further along |\n|---|---|---|---|"
    for axis in AXES.values():
        place = axis.at(16e6 if axis.whole else 0.5)
        yield f"| `{axis.name}` | {axis.title} | {place} | {'more' if axis.rising else 'less'} |"
    yield ""


def _law(name: str, law: Any) -> Iterator[str]:
    yield f"### `{name}`\n"
    yield _card(law.function) + "\n"
    yield f"Predicts `{law.target}` in {law.unit}. Source: {_sentence(law.source)} Valid: {_sentence(law.valid)}\n"
    if law.identifiability:
        yield f"Identifiability: {_sentence(law.identifiability)}\n"
    yield "| column or parameter | meaning |\n|---|---|"
    for column in law.columns:
        yield f"| `{column.name}` ({column.unit}) | {column.description} |"
    for parameter in law.parameters:
        yield f"| `{parameter.name}` | {parameter.description} |"
    yield ""


def _entry(spec: Any, title: str) -> Iterator[str]:
    yield f"### {title}\n"
    yield _card(spec) + "\n"
    if not spec.model_fields:
        return
    yield "| field | type | default | meaning |\n|---|---|---|---|"
    for name, field in spec.model_fields.items():
        default = "required" if field.is_required() else f"`{_shown(field.get_default(call_default_factory=True))}`"
        meaning = " ".join((field.description or "").split()).replace("|", "\\|")
        yield f"| `{name}` | {_type(field.annotation, field.metadata)} | {default} | {meaning} |"
    yield ""


def _card(thing: Any) -> str:
    """The module's card, when the thing is the module's one idea, and the thing's own docstring."""
    own = inspect.getdoc(thing) or ""
    card = inspect.getdoc(inspect.getmodule(thing)) or ""
    return card if own in card else f"{card}\n\n{own}"


def _type(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """A field's type as people say it: `count such as 16M`, `list of changes`, `number or null`."""
    from pliant.numbers import parse_count
    from pliant.spec import Spec

    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type(parts[0], parts[1:])
    if origin in (typing.Union, types.UnionType):
        return re.sub(r"( such as \S+) or", r"\1, or", " or ".join(_type(part) for part in parts))
    if origin is typing.Literal:
        return " or ".join(f"`{name}`" for name in parts)
    if origin is dict:
        return f"names with {_several(_type(parts[1]))}"
    if origin is tuple:
        return f"list of {'' if Ellipsis in parts else f'{len(parts)} '}{_several(_type(parts[0]))}"
    if any(getattr(mark, "func", None) is parse_count for mark in metadata):
        return "count such as 16M"
    words = {int: "whole number", float: "number", str: "text", bool: "true or false", types.NoneType: "null", Spec: "ladder"}
    return words.get(annotation) or getattr(annotation, "kind", annotation.__name__).replace("_", " ")


def _sentence(text: str) -> str:
    return f"{text.rstrip('.')}."


def _several(type_name: str) -> str:
    noun, such_as, example = type_name.partition(" such as ")
    return noun if noun.startswith("`") else f"{noun}s{such_as}{example}"


def _shown(value: Any) -> str:
    """A default as a study file would say it."""
    return value if isinstance(value, str) else json.dumps(value, default=lambda spec: spec.canonical())
