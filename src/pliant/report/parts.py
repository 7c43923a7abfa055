"""What a report's section is made of: paragraphs, charts, tables, warnings. Plain data; `page.html` says how each looks.

Everything here is text that the page escapes, so names and errors may hold anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from pliant.webpage import still

Verdict = Literal["degrades", "improves", "plateau", "undetermined"]


@dataclass(frozen=True)
class Chip:
    """A verdict in a table cell."""

    verdict: str
    form = "chip"


@dataclass(frozen=True)
class Spark:
    """A small curve in a table cell, its lowest fitted point marked; `values` from left to right."""

    values: Sequence[float]
    best: int
    form = "spark"

    def points(self, width: float = 88, height: float = 22, margin: float = 3) -> list[tuple[float, float]]:
        """Coordinates in a box of that size, y downwards."""
        low, high = min(self.values), max(self.values)
        across, up = (width - 2 * margin) / max(len(self.values) - 1, 1), (height - 2 * margin) / ((high - low) or 1)
        return [(round(margin + i * across, 1), round(height - margin - (value - low) * up, 1)) for i, value in enumerate(self.values)]


Cell = str | Chip | Spark


@dataclass(frozen=True)
class Group:
    """A row that names the rows after it."""

    title: str
    form = "group"


@dataclass(frozen=True)
class Paragraph:
    """Running text."""

    text: str
    form = "paragraph"


@dataclass(frozen=True)
class Warnings:
    """What to keep in mind when reading."""

    items: Sequence[str]
    form = "warnings"


@dataclass(frozen=True)
class TablePart:
    """Cells by row; `numeric` columns are set flush right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell] | Group]
    numeric: frozenset[int] = frozenset()
    form = "table"


@dataclass(frozen=True)
class Code:
    """Text in a fixed-width face, as it is."""

    text: str
    form = "code"


@dataclass(frozen=True)
class Figure:
    """A chart with its title, what it shows in words, and its Vega-Lite specification, whose width follows the page."""

    title: str
    description: str
    spec: dict[str, Any] = field(repr=False)
    form = "figure"

    @cached_property
    def drawing(self) -> str:
        """The same chart as a still SVG, for readers without scripts."""
        return still({**self.spec, "width": 420})


@dataclass(frozen=True)
class Gallery:
    """Charts beside each other where there is room."""

    figures: Sequence[Figure]
    form = "gallery"


@dataclass(frozen=True)
class Folded:
    """Parts that open on request."""

    title: str
    parts: Sequence[Part]
    form = "folded"


Part = Paragraph | Warnings | TablePart | Code | Figure | Gallery | Folded


@dataclass(frozen=True)
class Section:
    """A heading, one sentence on how to read what follows, and its parts."""

    title: str
    lead: str
    parts: Sequence[Part]
