"""Decisions: fits and measurements become answers, each with its interval and its evidence, or `undetermined`."""

from __future__ import annotations

from pliant.decide.curve import Curve
from pliant.decide.inflection import Inflection, inflection

__all__ = ["Curve", "Inflection", "inflection"]
