"""Decisions: fits and measurements become answers, each with its interval and its evidence, or `undetermined`."""

from __future__ import annotations

from pliant.decide.checkpoint import CheckpointDecision
from pliant.decide.checkpoint import decide as checkpoint
from pliant.decide.curve import Curve
from pliant.decide.inflection import Inflection, inflection

__all__ = ["CheckpointDecision", "Curve", "Inflection", "checkpoint", "inflection"]
