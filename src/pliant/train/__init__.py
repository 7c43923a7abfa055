"""Training: recipes, the one loop, and ladders of checkpoints trained here."""

from __future__ import annotations

from pliant.train.ladder import TrainedLadder
from pliant.train.log import Diverged, TrainingLog
from pliant.train.loop import train
from pliant.train.recipe import Recipe
from pliant.train.rung import TrainedRung

__all__ = ["Diverged", "Recipe", "TrainedLadder", "TrainedRung", "TrainingLog", "train"]
