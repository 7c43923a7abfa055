"""What a mixture comes to in a run: tokens, passes over each source, and a document's chance of being read.

Idea: rows are crops at random places, so a document of m tokens is met by a crop of `length` tokens with chance (m + length - 1) /
(tokens of its source - length), and by at least one of R with 1 - (1 - chance)^R. No row is drawn to know it.
Cost: tokenising the sources, once.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pliant.data.mixed import Mixed
from pliant.data.packed import Packed

MANY_PASSES = 4
"""Passes over a source from which repeating teaches little."""


@dataclass(frozen=True)
class SourcePreview:
    """One source in a run."""

    name: str
    documents: int
    tokens: int
    """That there are."""
    planned: float
    """Training tokens that are taken from it."""
    share: float
    """Of the run's."""
    epochs: float
    """Passes over it: how often its average token is read."""
    limit: float | None
    """The most passes that are allowed."""
    document_chance: float
    """Of a document of it, on average, to be read at least in part."""


@dataclass(frozen=True)
class MixturePreview:
    """A run of `tokens` training tokens in rows of `length`."""

    tokens: int
    length: int
    phases: list[dict[str, Any]]
    """`from`, `until` (tokens) and `shares` by source."""
    sources: list[SourcePreview]

    @classmethod
    def of(cls, mixed: Mixed, tokens: int, length: int) -> MixturePreview:
        """Raises PliantError as `Mixed.of_run` does."""
        found = mixed.of_run(tokens)
        starts = [min(start, tokens) for start, _ in found.shares]
        phases = [
            {"from": start, "until": end, "shares": dict(zip(found.names, shares, strict=True))}
            for start, end, (_, shares) in zip(starts, [*starts[1:], tokens], found.shares, strict=True)
        ]
        parts = zip(found.names, found.texts, found.planned().tolist(), found.stages[0].epochs, strict=True)
        return cls(tokens, length, phases, [_source(name, text, taken, limit, tokens, length) for name, text, taken, limit in parts])

    def remarks(self) -> list[str]:
        """What to think of, a line each."""
        return [
            f"{source.name} is read {source.epochs:.3g} times; from about {MANY_PASSES} passes on repeating teaches little"
            for source in self.sources
            if source.epochs > MANY_PASSES
        ]

    def json(self) -> dict[str, Any]:
        """Plain values."""
        sources = {source.name: {name: value for name, value in asdict(source).items() if name != "name"} for source in self.sources}
        return {"tokens": self.tokens, "length": self.length, "phases": self.phases, "sources": sources}


def _source(name: str, text: Packed, taken: float, limit: float | None, tokens: int, length: int) -> SourcePreview:
    documents, size = len(text.document_ids), len(text)
    return SourcePreview(name, documents, size, taken, taken / tokens, taken / size, limit, _met(text, taken, length))


def _met(text: Packed, planned: float, length: int) -> float:
    rows = planned / length
    sizes = np.diff(text.offsets)
    chance = np.minimum((sizes + length - 1) / max(len(text) - length, 1), 1)
    return float(np.mean(1 - (1 - chance) ** rows))
