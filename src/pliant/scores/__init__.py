"""Scores: a number per training example, from which data is selected. One file each; a new one is a file and a name in `SCORES`."""

from __future__ import annotations

from pliant.scores.context_need import ContextNeed
from pliant.scores.el2n import El2n
from pliant.scores.forgetting import Forgetting
from pliant.scores.grand import Grand
from pliant.scores.grand_last_layer import GrandLastLayer
from pliant.scores.knownness import Knownness
from pliant.scores.perplexity import Perplexity
from pliant.scores.score import Score
from pliant.scores.scores import Scores
from pliant.spec import Catalog

SCORES: Catalog[Score] = Catalog("score", Perplexity, El2n, Grand, GrandLastLayer, Forgetting, ContextNeed, Knownness)

__all__ = ["SCORES", "ContextNeed", "El2n", "Forgetting", "Grand", "GrandLastLayer", "Knownness", "Perplexity", "Score", "Scores"]
