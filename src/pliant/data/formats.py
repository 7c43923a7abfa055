"""Formats: the ways in which tables hold examples, told apart by the columns they have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pliant.errors import PliantError
from pliant.spec import nearest


@dataclass(frozen=True)
class Format:
    """A way in which tables hold examples: the columns it needs, and what a record says."""

    name: str
    needs: tuple[str, ...]
    read: Callable[[Mapping[str, Any]], Any]


def named(*forms: Format) -> dict[str, Format]:
    """Formats by name, in the order in which they are tried."""
    return {form.name: form for form in forms}


def format_of(columns: Iterable[str], formats: Mapping[str, Format], holds: str) -> Format:
    """The first format whose columns are there. Raises PliantError where there is none; `holds` says what was looked for."""
    names = set(columns)
    found = next((form for form in formats.values() if set(form.needs) <= names), None)
    if found is None:
        told = ", ".join(sorted(names)[:12]) or "none"
        known = "; ".join(" and ".join(form.needs) for form in formats.values())
        raise PliantError(f"which columns hold {holds}? There are {told}; known are {known}")
    return found


def check_columns(record: Mapping[str, Any], form: Format) -> None:
    """Raises PliantError for a column that is missing."""
    missing = [name for name in form.needs if name not in record]
    if missing:
        raise PliantError(f"no field {missing[0]!r}, which the format {form.name} needs; {nearest(missing[0], record)}")
