"""Objectives: what a network is trained on and what one example costs it. One file each; a new one is a file and a name in `OBJECTIVES`."""

from __future__ import annotations

from pliant.objectives.answers import Answers
from pliant.objectives.next_token import NextToken
from pliant.objectives.objective import Batch, Examples, Losses, Objective
from pliant.spec import Catalog

OBJECTIVES: Catalog[Objective] = Catalog("objective", NextToken, Answers)

__all__ = ["OBJECTIVES", "Answers", "Batch", "Examples", "Losses", "NextToken", "Objective"]
