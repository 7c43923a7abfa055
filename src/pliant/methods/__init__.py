"""Methods: what alters training. One file each; a new one is a file and a name in `METHODS`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, SerializeAsAny

from pliant.methods.method import Compute, Memory, Method, Run
from pliant.methods.quantize_aware import QuantizeAware
from pliant.spec import Catalog

METHODS: Catalog[Method] = Catalog("method", QuantizeAware)

__all__ = ["METHODS", "Compute", "Memory", "Method", "Methods", "QuantizeAware", "Run"]


def _parse(methods: Any) -> Any:
    return [METHODS.parse(method, "methods") for method in methods] if isinstance(methods, (list, tuple)) else methods


def _forms(methods: Sequence[Method]) -> list[dict[str, Any]]:
    return [method.canonical() for method in methods]


Methods = Annotated[
    tuple[SerializeAsAny[Method], ...],
    BeforeValidator(_parse),
    PlainSerializer(_forms),
    Field(description="What alters the training, innermost first"),
]
"""The field type of a list of methods, in the forms of `METHODS.parse`."""
