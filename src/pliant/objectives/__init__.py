"""Objectives: what a network is trained on and what one example costs it. One file each; a new one is a file and a name in `OBJECTIVES`."""

from __future__ import annotations

from typing import Annotated

from pliant.objectives.answers import Answers
from pliant.objectives.next_token import NextToken
from pliant.objectives.objective import Batch, Examples, Losses, Objective
from pliant.spec import Catalog
from pliant.spec.fields import OneOf

OBJECTIVES: Catalog[Objective] = Catalog("objective", NextToken, Answers)

AnyObjective = Annotated[Objective, OneOf(OBJECTIVES)]
"""The type of a field that holds an objective."""

__all__ = ["OBJECTIVES", "Answers", "AnyObjective", "Batch", "Examples", "Losses", "NextToken", "Objective"]
