"""A ladder: checkpoints of one family over tokens or size, each opened when its turn comes.

Idea: a study walks over rungs and never asks where weights come from. A rung knows its facts before anything heavy
happens, is opened as a context manager, and cleans up after itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pliant.models.checkpoint import Checkpoint
    from pliant.models.model import Model


class Rung(Protocol):
    """One checkpoint of a ladder. Can be pickled, so that a worker process may open it."""

    @property
    def checkpoint(self) -> Checkpoint:
        """What is known before it is opened; the opened model's own facts are complete."""
        ...

    @property
    def cost(self) -> float:
        """Floating-point operations that opening it takes: 6 x parameters x tokens where it must be trained, 0 where it is stored."""
        ...

    def open(self) -> AbstractContextManager[Model]:
        """The loaded model; what was downloaded or allocated for it is gone when the block ends.

        Raises PliantError when this checkpoint cannot be had; the other rungs are not affected.
        """
        ...


class Ladder(Protocol):
    """A family of checkpoints."""

    def rungs(self, seed: int = 0) -> Sequence[Rung]:
        """Every checkpoint in the order of its tokens. The seed matters only where they are trained here.

        Raises PliantError when the family itself cannot be found.
        """
        ...
