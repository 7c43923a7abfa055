"""Decisions: fits and measurements become answers, each with its interval and its evidence, or `undetermined`."""

from __future__ import annotations

from pliant.decide.inflection import Curve, Inflection, inflection

__all__ = ["Curve", "Inflection", "inflection"]
