"""Decisions: fits and measurements become answers, each with its interval and its evidence, or `undetermined`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pliant.decide.curves.checkpoint import CheckpointDecision
    from pliant.decide.curves.checkpoint import decide as checkpoint
    from pliant.decide.curves.curve import Curve
    from pliant.decide.curves.inflection import Inflection, inflection
    from pliant.decide.curves.shared import shared_error
    from pliant.decide.fits.answer import Decision
    from pliant.decide.fits.bits import rounding as rounding_bits
    from pliant.decide.fits.bits import serving as serving_bits
    from pliant.decide.fits.bits import training as training_bits
    from pliant.decide.fits.data import epochs, pools
    from pliant.decide.fits.downstream import decide as downstream
    from pliant.decide.fits.size import decide as size
    from pliant.decide.fits.sweep import decide as sweep
    from pliant.decide.fits.tokens import critical_tokens
    from pliant.decide.fits.tokens import decide as tokens
    from pliant.decide.groups.answer import GroupDecision
    from pliant.decide.groups.between import decide as between
    from pliant.decide.methods.answer import MethodDecision
    from pliant.decide.methods.decide import decide as method
    from pliant.decide.questions import QUESTIONS, BestCheckpoint, BestMethod, BetterGroup, BitsAlongLadder, Question, ask

__all__ = [
    "QUESTIONS",
    "BestCheckpoint",
    "BestMethod",
    "BetterGroup",
    "BitsAlongLadder",
    "CheckpointDecision",
    "Curve",
    "Decision",
    "GroupDecision",
    "Inflection",
    "MethodDecision",
    "Question",
    "ask",
    "between",
    "checkpoint",
    "critical_tokens",
    "downstream",
    "epochs",
    "inflection",
    "method",
    "pools",
    "rounding_bits",
    "serving_bits",
    "shared_error",
    "size",
    "sweep",
    "tokens",
    "training_bits",
]

_HOMES = {
    "QUESTIONS": "questions.QUESTIONS",
    "BestCheckpoint": "questions.BestCheckpoint",
    "BestMethod": "questions.BestMethod",
    "BetterGroup": "questions.BetterGroup",
    "BitsAlongLadder": "questions.BitsAlongLadder",
    "CheckpointDecision": "curves.checkpoint.CheckpointDecision",
    "Curve": "curves.curve.Curve",
    "Decision": "fits.answer.Decision",
    "GroupDecision": "groups.answer.GroupDecision",
    "Inflection": "curves.inflection.Inflection",
    "MethodDecision": "methods.answer.MethodDecision",
    "Question": "questions.Question",
    "ask": "questions.ask",
    "between": "groups.between.decide",
    "checkpoint": "curves.checkpoint.decide",
    "critical_tokens": "fits.tokens.critical_tokens",
    "downstream": "fits.downstream.decide",
    "epochs": "fits.data.epochs",
    "inflection": "curves.inflection.inflection",
    "method": "methods.decide.decide",
    "pools": "fits.data.pools",
    "rounding_bits": "fits.bits.rounding",
    "serving_bits": "fits.bits.serving",
    "shared_error": "curves.shared.shared_error",
    "size": "fits.size.decide",
    "sweep": "fits.sweep.decide",
    "tokens": "fits.tokens.decide",
    "training_bits": "fits.bits.training",
}


def __getattr__(name: str) -> Any:
    """The names above, imported when first used: a study file and `pliant decide --help` need the questions, not what answers them."""
    if name not in _HOMES:
        raise AttributeError(f"module 'pliant.decide' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].rpartition(".")
    return getattr(importlib.import_module(f"pliant.decide.{module}"), attribute)


def __dir__() -> list[str]:
    """With what has not been imported yet, so that completion finds it."""
    return sorted({*globals(), *__all__})
