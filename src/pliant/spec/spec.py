"""The typed description every noun derives from.

A `Spec` is a frozen pydantic model. Its typed fields are its YAML form, its command-line form, its JSON schema, its
documentation and its hash; none of these is written a second time. A `Catalog` is the list of kinds a room offers
(changes, measures, methods ...): it reads the one-key YAML form `{quantize: {bits: 4}}`, sweeps lists, and adds
kinds that other packages register through entry points.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from pliant.errors import PliantError
from pliant.numbers import LARGEST
from pliant.spec.registry import Registry
from pliant.spec.validation import explain, holds_list, shown
from pliant.spec.yaml import read_yaml

MOST_SWEPT = 10_000
"""Combinations that one item of a list may stand for."""
DEEPEST = 64
"""Lists and mappings within each other that a form may have."""
DIGITS = 18
"""Of a whole number that files and columns hold, whatever its digits are."""


class Spec(BaseModel):
    """Base of everything that can be written in a study file.

    Class attribute `kind` is the word used for it in YAML and on the command line; by default the class's name in
    snake case. Raises PliantError, never pydantic's own error, on unknown or mistyped fields.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, protected_namespaces=(), allow_inf_nan=False)
    kind: ClassVar[str] = "spec"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "kind" not in cls.__dict__:
            cls.kind = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise PliantError(explain(error, type(self))) from None

    # so that pydantic makes the specs within this one itself, and knows the whole place of a mistake
    __init__.__pydantic_base_init__ = True  # pyright: ignore[reportFunctionMemberAccess]

    @field_validator("*")
    @classmethod
    def _in_bounds(cls, value: Any) -> Any:
        """Whole numbers fit 64 bits, also within lists and mappings."""
        inside: list[Any] = [value]
        while inside:
            part = inside.pop()
            if isinstance(part, int) and not -LARGEST <= part < LARGEST:
                raise ValueError("it is beyond what a whole number can be")
            inside += part.values() if isinstance(part, dict) else part if isinstance(part, (list, tuple)) else ()
        return value

    def canonical(self) -> dict[str, Any]:
        """Every field as plain JSON values, under its kind; the same dictionary for the same meaning."""
        return {"kind": self.kind, **self.model_dump(mode="json")}

    def content(self) -> Iterator[Any]:
        """Everything in it that names content (`spec.content.Content`), however deep."""
        inside: list[Any] = [getattr(self, name) for name in type(self).model_fields]
        while inside:
            value = inside.pop(0)
            if isinstance(value, Spec):
                yield from value.content()
            elif isinstance(value, (list, tuple, dict)):
                inside = [*(value.values() if isinstance(value, dict) else value), *inside]

    def meaning(self) -> dict[str, Any]:
        """What keys are made of: the canonical form, with what it was found to stand for where the form leaves that open."""
        return self.canonical()

    def canonical_json(self) -> str:
        """`canonical()` as text with sorted keys and no spaces."""
        return json.dumps(self.canonical(), sort_keys=True, separators=(",", ":"), allow_nan=False)

    def hash(self) -> str:
        """16 hexadecimal digits that name this description."""
        return digest(self.canonical_json())

    def label(self) -> str:
        """A short name for tables: the kind with the fields that differ from their defaults."""
        fields = type(self).model_fields
        told = {name: value for name, value in self if value != fields[name].get_default(call_default_factory=True)}
        fields_told = ", ".join(f"{name}={shown(value)}" for name, value in told.items())
        return f"{self.kind}({fields_told})" if told else self.kind

    @classmethod
    def parse(cls, form: Any, where: str = "") -> Self:
        """From plain YAML values: a mapping of fields, or whatever short form the class's own validators accept.

        Raises PliantError that starts with `where`.
        """
        try:
            _check_names(form)
            return cls.model_validate(form)
        except ValidationError as error:
            raise PliantError(explain(error, cls)).within(where or cls.kind) from None
        except PliantError as error:
            raise error.within(where or cls.kind) from None

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """From a YAML file. Raises PliantError for a missing file, YAML that does not parse, or wrong fields."""
        return cls.parse(read_yaml(path), str(path))


def digest(text: str | bytes) -> str:
    """The 16 hexadecimal digits by which pliant names content."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()[:16]


def _check_names(form: Any, place: tuple[str, ...] = ()) -> None:
    """Raises PliantError for a mapping, however deep inside `form`, one of whose keys is no text, as YAML's `1:` and `yes:` are not."""
    where = f"{'.'.join(place)}: " if place else ""
    if len(place) > DEEPEST:
        raise PliantError(f"{where[:80]} ...: is nested too deeply")
    if isinstance(form, Mapping):
        for name, part in form.items():
            if not isinstance(name, str):
                raise PliantError(f"{where}names are text, and {str(name)[:40]} is not; put it in quotes")
            _check_names(part, (*place, name))
    elif isinstance(form, (list, tuple)):
        for number, part in enumerate(form, 1):
            _check_names(part, (*place, str(number)))


def sweep(form: Any, spec: type[Spec]) -> Iterator[Any]:
    """Every combination of a mapping's lists: `{bits: [3, 4]}` -> `{bits: 3}`, `{bits: 4}`.

    A list in a field that itself holds a list stays as it is, unless it is a list of lists. Inside a sweep, the text
    `2..8` stands for every whole number from 2 to 8. Raises PliantError for more than `MOST_SWEPT` combinations, before any is made.
    """
    if not isinstance(form, Mapping):
        yield form
        return
    axes: list[list[Any]] = []
    for name, value in form.items():
        field = spec.model_fields.get(str(name))
        of_list = field is not None and holds_list(field.annotation)
        swept = isinstance(value, list) and (not of_list or (bool(value) and all(isinstance(item, list) for item in value)))
        if swept and not value:
            raise PliantError(f"field {name!r} is an empty list; give it at least one value")
        ranges = [_range(item) for item in value] if swept else [[value]]
        check_count((sum(map(len, ranges)),), f"field {name!r}")
        axes.append(list(itertools.chain.from_iterable(ranges)))
    check_count(map(len, axes), "its lists")
    for combination in itertools.product(*axes):
        yield dict(zip(form, combination, strict=True))


def _range(item: Any) -> Sequence[Any]:
    match = re.fullmatch(r"(\d+)\.\.(\d+)", item) if isinstance(item, str) else None
    if match is None:
        return [item]
    if max(map(len, match.groups())) > DIGITS:
        raise PliantError(f"{item[:40]!r} is beyond what a whole number can be")
    return range(int(match[1]), int(match[2]) + 1)


def check_count(lengths: Iterable[int], what: str) -> None:
    """Raises PliantError when lists of these lengths have more than `MOST_SWEPT` combinations."""
    count = prod(lengths)
    if count > MOST_SWEPT:
        raise PliantError(f"{what}: {count:,} combinations, more than the {MOST_SWEPT:,} that can be swept")


Kind = TypeVar("Kind", bound=Spec)


class Catalog(Registry[type[Kind]]):
    """The kinds of one noun, by name: pliant's own and those of installed packages (entry points in `group`).

    `home` is the module that adds its kinds where they stand on a floor above their noun: imported when one is first asked for.
    """

    def __init__(self, noun: str, *specs: type[Kind], home: str | None = None) -> None:
        super().__init__(noun, {spec.kind: spec for spec in specs}, home)

    def add(self, *specs: type[Kind]) -> None:
        """Further kinds."""
        self.put({spec.kind: spec for spec in specs})

    def specs(self) -> dict[str, type[Kind]]:
        """Every kind by its name."""
        return self.entries()

    def expand(self, form: Any, where: str = "") -> list[Kind]:
        """Every spec that a YAML form stands for, its swept fields multiplied out.

        Forms: `none` (a name), `{quantize: {bits: [3, 4]}}` (one key), `{kind: quantize, bits: 4}` (as records hold
        it), or a ready spec. Raises PliantError that starts with `where`.
        """
        try:
            if isinstance(form, Spec):
                return [typing.cast(Kind, form)]
            kind, fields = self._split(form)
            spec = self[self._spelled(kind)]
            return [spec.parse(combination, kind) for combination in sweep(fields, spec)]
        except PliantError as error:
            raise (error.within(where) if where else error) from None

    def parse(self, form: Any, where: str = "") -> Kind:
        """The one spec that a YAML form stands for. Raises PliantError when it is a sweep."""
        specs = self.expand(form, where)
        if len(specs) != 1:
            raise PliantError(f"{where or self.noun}: a list is not allowed here, it would mean {len(specs)} {self.noun}s")
        return specs[0]

    def _spelled(self, kind: str) -> str:
        """The name with underscores, where it was typed with dashes as options are."""
        underscored = kind.replace("-", "_")
        return underscored if kind not in self.specs() and underscored in self.specs() else kind

    def _split(self, form: Any) -> tuple[str, Any]:
        if isinstance(form, str):
            return form, {}
        if isinstance(form, Mapping) and "kind" in form:
            return str(form["kind"]), {name: value for name, value in form.items() if name != "kind"}
        if isinstance(form, Mapping) and len(form) == 1:
            kind, fields = next(iter(form.items()))
            return str(kind), {} if fields is None else fields
        raise PliantError(f"a {self.noun} is a name or one `name: {{fields}}`, not {json.dumps(form, default=str)[:80]}")

    def json_schema(self) -> dict[str, Any]:
        """The JSON schema of `expand`'s forms: each field is its own type or a list of it."""
        forms: list[dict[str, Any]] = [{"enum": sorted(self.specs())}]
        for kind, spec in sorted(self.specs().items()):
            schema = spec.model_json_schema()
            definitions = schema.pop("$defs", {})
            for name, field in schema.get("properties", {}).items():
                schema["properties"][name] = {
                    "description": field.pop("description", ""),
                    "anyOf": [field, {"type": "array", "items": field}],
                }
            inlined = _inline(schema, definitions)
            forms.append({"type": "object", "properties": {kind: inlined}, "required": [kind], "additionalProperties": False})
        return {"anyOf": forms}


def _inline(schema: Any, definitions: dict[str, Any]) -> Any:
    """A JSON schema without references, so that it can stand inside another."""
    if isinstance(schema, dict):
        reference = schema.get("$ref")
        if isinstance(reference, str):
            return _inline(definitions[reference.rsplit("/", 1)[-1]], definitions)
        return {key: _inline(value, definitions) for key, value in schema.items()}
    return [_inline(item, definitions) for item in schema] if isinstance(schema, list) else schema
