"""Which checkpoints may be the best of a ledger: those that no paired difference puts below another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pliant.comparison import System, compared
from pliant.comparison.files.ledgers import of_ledger
from pliant.comparison.outcomes import OVER_ALL
from pliant.errors import PliantError
from pliant.ledger.ledger import Ledger

MOST = 60
"""Checkpoints that are ranked together."""
UNCHANGED = "nothing"


@dataclass(frozen=True)
class Ties:
    """The checkpoints after one change, by one measure."""

    measure: str
    change: str
    best: Sequence[str]
    """That may be of the first rank, those likeliest first."""
    count: int
    ratio: float | None
    """How many times what one differs by from itself they differ by, where that is known."""


def ties(ledger: Ledger) -> list[Ties]:
    """By every measure, after every change that three checkpoints or more had, as records go."""
    groups: dict[tuple[str, str, str], list[System]] = {}
    for system in of_ledger(ledger, "the ledger"):
        checkpoint, _, change = system.name.partition(" | ")
        for key, outcomes in system.outcomes.items():
            groups.setdefault((*key, change or UNCHANGED), []).append(replace(system, name=checkpoint, outcomes={key: outcomes}))
    return [found for key, systems in groups.items() if 3 <= len(systems) <= MOST and (found := _of(key, systems)) is not None]


def _of(key: tuple[str, str, str], systems: Sequence[System]) -> Ties | None:
    try:
        found = compared(systems)
    except PliantError:  # other texts or lengths from checkpoint to checkpoint: there is nothing to rank
        return None
    ranks: dict[str, tuple[int, int]] = {}
    for row in found.rows:
        if row.task == OVER_ALL and row.ranks is not None:
            ranks |= {row.a: row.ranks[0], row.b: row.ranks[1]}
    best = sorted((name for name, (highest, _) in ranks.items() if highest == 1), key=lambda name: ranks[name][1])
    ratio = found.signals[0].ratio if found.signals else None
    return Ties(f"{key[0]}, {key[1]}", key[2], best, len(systems), ratio) if ranks else None
