"""Measures: what is read off a model. One file each; a new one is a file and a name in `MEASURES`."""

from __future__ import annotations

from pliant.measures.choice import Choice
from pliant.measures.loss import Loss
from pliant.measures.measure import Difference, Measure, Reading
from pliant.measures.preference import Preference
from pliant.measures.solve import Solve
from pliant.spec import Catalog

MEASURES: Catalog[Measure] = Catalog("measure", Loss, Choice, Solve, Preference)

__all__ = ["MEASURES", "Choice", "Difference", "Loss", "Measure", "Preference", "Reading", "Solve"]
