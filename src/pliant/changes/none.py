"""No change: the checkpoint as it is, the arm that every other change is compared with."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from pliant.changes.change import Change

if TYPE_CHECKING:
    from pliant.models import Model


class NoChange(Change):
    """Leave the weights alone."""

    kind = "none"
    called = "unchanged"
    unchanged = True

    def apply(self, model: Model, seed: int, draw: int, undo: ExitStack) -> None:
        """Do nothing."""
