"""Objectives: what a network is trained on and what one example costs it. One file each; a new one is a file and a name in `OBJECTIVES`."""

from __future__ import annotations

from typing import Annotated

from pliant.data import Corpus, Part
from pliant.objectives.answers import Answers
from pliant.objectives.bradley_terry import BradleyTerry
from pliant.objectives.contrast import Contrast
from pliant.objectives.dpo import Dpo
from pliant.objectives.jigsaw import Jigsaw
from pliant.objectives.label import Label
from pliant.objectives.masked import Masked
from pliant.objectives.next_token import NextToken
from pliant.objectives.objective import Batch, Examples, Losses, Objective
from pliant.objectives.regression import Regression
from pliant.objectives.rotation import Rotation
from pliant.spec import Catalog
from pliant.spec.fields import OneOf

OBJECTIVES: Catalog[Objective] = Catalog(
    "objective", NextToken, Answers, Dpo, BradleyTerry, Contrast, Masked, Label, Regression, Rotation, Jigsaw
)

AnyObjective = Annotated[Objective, OneOf(OBJECTIVES)]
"""The type of a field that holds an objective."""


def found_in(corpus: Corpus, part: Part) -> Objective:
    """What a source is learned by: the objective that its columns call for, or as text the next token.

    Raises PliantError for a source that cannot be read.
    """
    asked = (kind.found_in(corpus, part) for kind in OBJECTIVES.values())
    return next((found for found in asked if found is not None), None) or NextToken(data=corpus, part=part)


__all__ = [
    "OBJECTIVES",
    "Answers",
    "AnyObjective",
    "Batch",
    "BradleyTerry",
    "Contrast",
    "Dpo",
    "Examples",
    "Jigsaw",
    "Label",
    "Losses",
    "Masked",
    "NextToken",
    "Objective",
    "Regression",
    "Rotation",
    "found_in",
]
