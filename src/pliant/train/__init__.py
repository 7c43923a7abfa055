"""Training: recipes, the one loop, and ladders of checkpoints trained here."""

from __future__ import annotations

from pliant.train.recipe import Recipe

__all__ = ["Recipe"]
