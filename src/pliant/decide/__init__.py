"""Decisions: fits and measurements become answers, each with its interval and its evidence, or `undetermined`."""

from __future__ import annotations

from pliant.decide.curves.checkpoint import CheckpointDecision
from pliant.decide.curves.checkpoint import decide as checkpoint
from pliant.decide.curves.curve import Curve
from pliant.decide.curves.inflection import Inflection, inflection
from pliant.decide.fits.answer import Decision
from pliant.decide.fits.bits import rounding as rounding_bits
from pliant.decide.fits.bits import serving as serving_bits
from pliant.decide.fits.bits import training as training_bits
from pliant.decide.fits.data import epochs, pools
from pliant.decide.fits.size import decide as size
from pliant.decide.fits.tokens import critical_tokens
from pliant.decide.fits.tokens import decide as tokens

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
