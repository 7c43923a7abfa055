"""Decisions: fits and measurements become answers, each with its interval and its evidence, or `undetermined`."""

from __future__ import annotations

from pliant.decide.answer import Decision
from pliant.decide.bits import rounding as rounding_bits
from pliant.decide.bits import serving as serving_bits
from pliant.decide.bits import training as training_bits
from pliant.decide.checkpoint import CheckpointDecision
from pliant.decide.checkpoint import decide as checkpoint
from pliant.decide.curve import Curve
from pliant.decide.data import epochs, pools
from pliant.decide.inflection import Inflection, inflection
from pliant.decide.size import decide as size
from pliant.decide.tokens import critical_tokens
from pliant.decide.tokens import decide as tokens

__all__ = [
    "CheckpointDecision",
    "Curve",
    "Decision",
    "Inflection",
    "checkpoint",
    "critical_tokens",
    "epochs",
    "inflection",
    "pools",
    "rounding_bits",
    "serving_bits",
    "size",
    "tokens",
    "training_bits",
]
