"""Result files, whoever wrote them, as systems to compare. Each kind of file is one module that knows its own by content."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pliant.comparison.files import inspect_logs, ledgers, lm_eval, tables
from pliant.comparison.outcomes import System
from pliant.errors import PliantError
from pliant.files import expanded


@dataclass(frozen=True)
class Kind:
    """A kind of result file."""

    name: str
    knows: Callable[[Path], bool]
    read: Callable[[Path], list[System]]


KINDS = (
    Kind("lm-eval's output", lm_eval.knows, lm_eval.read),
    Kind("an inspect log", inspect_logs.knows, inspect_logs.read),
    Kind("a ledger", ledgers.knows, ledgers.read),
    Kind("a table", tables.knows, tables.read),
)
"""In the order in which they are asked."""


def read_systems(address: str) -> list[System]:
    """The systems that a path holds; `PATH#NAME` is one of several by its name.

    Raises PliantError for what is not there, what is of no kind that is known, and a name that is none of its systems.
    """
    place, chosen = _split(address)
    path = expanded(place)
    if not path.exists():
        raise PliantError(f"{place}: no such file or folder")
    kind = next((kind for kind in KINDS if kind.knows(path)), None)
    if kind is None:
        raise PliantError(f"{place}: holds no results that can be read; give {', '.join(kind.name for kind in KINDS)}")
    systems = kind.read(path)
    try:
        for outcomes in (outcomes for system in systems for outcomes in system.outcomes.values()):
            outcomes.grid  # noqa: B018 - what cannot be laid out by runs and items is the file's fault
    except PliantError as error:
        raise PliantError(f"{place}: {error}") from None
    if chosen is None:
        return systems
    ways = (lambda name: name == chosen, lambda name: name.endswith(chosen), lambda name: chosen in name)
    found = next((some for way in ways if (some := [system for system in systems if way(system.name)])), [])
    if len(found) != 1:
        names = ", ".join(system.name for system in (found or systems)[:6])
        raise PliantError(f"{place}: {chosen!r} is {'none' if not found else 'several'} of its systems; they are {names}")
    return found


def _split(address: str) -> tuple[str, str | None]:
    """A path may hold a # of its own."""
    if expanded(address).exists() or "#" not in address:
        return address, None
    place, _, name = address.rpartition("#")
    return place, name
