"""Laws whose columns the user names: what their makers share."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pliant.errors import PliantError

if TYPE_CHECKING:
    from torch import Tensor

MOST_COLUMNS = 60


def taking(function: Callable[[Mapping[str, Tensor]], Tensor], arguments: Sequence[str]) -> Callable[..., Tensor]:
    """A function of one mapping as one of keyword arguments with these names."""

    def called(**values: Tensor) -> Tensor:
        return function(values)

    kind = inspect.Parameter.KEYWORD_ONLY
    made: Any = called
    made.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in arguments])
    return made


def listed(family: str, text: str) -> list[str]:
    """`web, code)` as names. Raises PliantError for what is no list of different names that closes."""
    inside, closed, after = text.partition(")")
    found = [name.strip() for name in inside.split(",")]
    if not closed or after.strip() or not all(name.isidentifier() for name in found):
        raise PliantError(f"law {family}: write {family}(COLUMN, COLUMN, ...), with names of letters, digits and _ (--columns maps others)")
    if len(set(found)) < len(found) or len(found) > MOST_COLUMNS:
        raise PliantError(f"law {family}: name {MOST_COLUMNS} columns at most, each once")
    return found
