"""What a ledger is, in memory: the whole truth against which the one on disk is held."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

Row = tuple[Any, ...]


def row(columns: Mapping[str, Any]) -> Row:
    """What is compared of a record."""
    samples = tuple(tuple(columns[name]) for name in ("sample_ids", "sample_values", "sample_weights"))
    return (*(columns[name] for name in ("status", "value", "error", "tokens", "seconds")), samples)


@dataclass(frozen=True)
class World:
    """A ledger's whole content: finished records by key and draw, failed ones by key, keys no study asks for."""

    stored: Mapping[tuple[str, int], Row] = field(default_factory=dict)
    failed: Mapping[str, Row] = field(default_factory=dict)
    outdated: frozenset[str] = frozenset()

    @property
    def finished(self) -> set[str]:
        return {key for key, _ in self.stored}

    def finish(self, records: Sequence[Mapping[str, Any]]) -> World:
        stored = {**self.stored, **{(record["key"], record["draw"]): row(record) for record in records}}
        keys = {key for key, _ in stored}
        return replace(self, stored=stored, failed={key: kept for key, kept in self.failed.items() if key not in keys})

    def fail(self, record: Mapping[str, Any]) -> World:
        return replace(self, failed={**self.failed, record["key"]: row(record)})

    def remember(self, keys: Collection[str]) -> World:
        return replace(self, outdated=frozenset((self.finished | set(self.failed)) - set(keys)))

    def restate(self, tokens: Mapping[str, int]) -> World:
        return replace(self, stored={place: (*old[:3], tokens.get(place[0], old[3]), *old[4:]) for place, old in self.stored.items()})


class Model:
    """The worlds that the ledger may be: one, and while a step is under way or was cut off, also what the step comes to."""

    def __init__(self) -> None:
        self.possible = self.after = self.seen = [World()]

    def begin(self, *steps: Callable[[World], World]) -> None:
        """These changes are made, in whatever order; each whole or not at all."""
        self.after = self.possible
        for step in steps:
            self.after = [step(world) for world in self.after]
            self.possible = self.possible + [step(world) for world in self.possible]
        self.seen = self.seen + self.possible

    def done(self) -> None:
        """They have been acknowledged."""
        self.possible = self.after

    def observe(self, found: World) -> None:
        """The ledger is `found` to be this, and must go on being it."""
        assert found in self.possible, f"the ledger is\n  {found}\nbut may only be one of\n  " + "\n  ".join(map(str, self.possible))
        self.possible = self.seen = [found]
