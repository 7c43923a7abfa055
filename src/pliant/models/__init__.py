"""Checkpoints, models and ladders: where weights come from, and what is known about them."""

from pliant.models.checkpoint import Checkpoint
from pliant.models.folders import FolderLadder
from pliant.models.heads import with_head
from pliant.models.hub import HubLadder
from pliant.models.images import ImageInput
from pliant.models.ladder import Ladder, Rung
from pliant.models.load import load
from pliant.models.model import Model
from pliant.models.presets import build
from pliant.models.save import save

__all__ = ["Checkpoint", "FolderLadder", "HubLadder", "ImageInput", "Ladder", "Model", "Rung", "build", "load", "save", "with_head"]
