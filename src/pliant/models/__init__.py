"""Checkpoints, models and ladders: where weights come from, and what is known about them."""

from pliant.models.checkpoint import Checkpoint
from pliant.models.ladder import Ladder, Rung
from pliant.models.model import Model

__all__ = ["Checkpoint", "Ladder", "Model", "Rung"]
