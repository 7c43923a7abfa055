"""Field types made from catalogs: a field that holds one kind, or several, in any form that a study file may use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from pliant.spec.spec import Catalog, Spec


@dataclass(frozen=True)
class OneOf:
    """Annotates a field that holds one kind of a catalog: `Annotated[Schedule, OneOf(SCHEDULES)]`.

    Read in the forms of `Catalog.parse`; written as the kind's name where no field differs from its default, else as records have it.
    """

    catalog: Catalog[Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.catalog.parse, serialization=core_schema.plain_serializer_function_ser_schema(short_form)
        )

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return self.catalog.json_schema()


@dataclass(frozen=True)
class SeveralOf:
    """Annotates a field that holds a list of kinds: `Annotated[tuple[Method, ...], SeveralOf(METHODS)]`. Written as records have them."""

    catalog: Catalog[Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            self._parsed,
            core_schema.tuple_schema([core_schema.is_instance_schema(Spec)], variadic_item_index=0),
            serialization=core_schema.plain_serializer_function_ser_schema(_forms),
        )

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "array", "items": self.catalog.json_schema()}

    def _parsed(self, given: Any) -> Any:
        return tuple(self.catalog.parse(item, f"{self.catalog.noun}s") for item in given) if isinstance(given, (list, tuple)) else given


def short_form(spec: Spec) -> Any:
    """The kind's name where that says everything, else its canonical form."""
    form = spec.canonical()
    return spec.kind if form == {"kind": spec.kind} else form


def _forms(specs: Sequence[Spec]) -> list[dict[str, Any]]:
    return [spec.canonical() for spec in specs]
