"""What of a source is no document of its own, or not as it stands: counted by what is the matter, and listed with where it is.

What goes wrong: where reading a file ends early (a shard cut short), what would have come behind it is not known, and counts once.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pliant.data.decoding import faults
from pliant.errors import PliantError
from pliant.spec.yaml import parse_json

LISTED = 20_000
"""Lines that are kept; the counts go on."""

T = TypeVar("T")
Bad = Callable[[PliantError], None]
"""Told what is wrong with one record, or with the rest of a file; it raises that, or has it left out."""


@dataclass
class LeftOut:
    """Counts, and a line for each place."""

    skip_bad: bool = False
    """Whether what cannot be read is left out."""
    counts: Counter[str] = field(default_factory=Counter[str])
    """Of `empty`, `unreadable`, `cut` (long documents, read in pieces), `repeated`, and `not_asked` (of another part, or not selected)."""
    listed: list[str] = field(default_factory=list[str])

    def add(self, what: str, line: str) -> None:
        """Count one, and list it."""
        self.counts[what] += 1
        if len(self.listed) < LISTED:
            self.listed.append(f"{what}: {line}")

    def bad(self, error: PliantError) -> None:
        """Of what cannot be read. Raises the error unless such things are left out."""
        if not self.skip_bad:
            raise error
        self.add("unreadable", str(error))

    def rest(self, error: PliantError) -> None:
        """The same where reading a file ends with it."""
        self.bad(error if not self.skip_bad else PliantError(f"{error}; left out from there to the end of the file"))

    def told(self) -> bytes:
        """As JSON."""
        return json.dumps([self.counts, self.listed]).encode()

    @classmethod
    def of(cls, told: bytes) -> LeftOut:
        """What `told` gave."""
        counts, listed = parse_json(told, "what was left out")
        return cls(True, Counter(counts), listed)


def refuse(error: PliantError) -> None:
    """Nothing is left out."""
    raise error


def tolerated(found: Iterator[T], path: Path, bad: Bad) -> Iterator[T]:
    """As much of a file as can be read; `bad` is told where that ends."""
    try:
        with faults(path):
            yield from found
    except PliantError as error:
        bad(error)
