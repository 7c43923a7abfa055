"""Comparing result files: real, tied, or how many more. Whoever wrote them, and without loading a model."""

from __future__ import annotations

from pliant.comparison.compare import MARGIN, Comparison, compare, compared
from pliant.comparison.outcomes import Outcomes, System
from pliant.comparison.row import Flip, Row

__all__ = ["MARGIN", "Comparison", "Flip", "Outcomes", "Row", "System", "compare", "compared"]
