"""What the questions about the curves along a ladder have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from pliant.axes import axis_named
from pliant.errors import PliantError
from pliant.spec import nearest
from pliant.study.question import Question

if TYPE_CHECKING:
    from pliant.decide.curves.checkpoint import CheckpointDecision
    from pliant.ledger.ledger import Ledger
    from pliant.models import Checkpoint

COUNTED = ("params",)
"""Axes along which the place of a stored checkpoint is counted when it is opened, and not known before."""


class AlongLadder(Question):
    """Base of the questions that the decision about every curve of a ledger answers."""

    measure: str | None = Field(None, description="The name of the one measure to answer by; by default every measure gives its answers")

    def obstacle(self, checkpoints: Sequence[Checkpoint], axis: str) -> str | None:
        """Places that are not known, or are all the same."""
        places, along = [getattr(checkpoint, axis, None) for checkpoint in checkpoints], axis_named(axis)
        if axis in COUNTED:
            return None
        if None in places:
            given = ": give `batch_tokens` or `tokens`" if axis == "tokens" else ""
            return f"{along.unit} of {places.count(None)} checkpoints are unknown, so which is best cannot be said{given}"
        return None if len(set(places)) > 1 else f"which checkpoint is best takes two or more with different {along.unit}"

    def decisions(self, ledger: Ledger) -> list[CheckpointDecision]:
        """Of every curve of the measure. Raises PliantError where there are none."""
        from pliant.decide.curves.checkpoint import Decisions, decide

        found = decide(ledger)
        kept = Decisions(one for one in found if self.measure in (None, one.metric, one.evidence.measure))
        if not kept:
            known = {one.metric for one in found}
            raise PliantError(f"{ledger.folder}: no measure along a ladder is called {self.measure!r}; {nearest(str(self.measure), known)}")
        return kept
