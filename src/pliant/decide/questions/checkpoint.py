"""The question `checkpoint`: which one is best, and whether training longer has made it worse; see `decide.curves.checkpoint`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from pliant.decide.questions.along import AlongLadder
from pliant.study.question import Row

if TYPE_CHECKING:
    from pliant.decide.curves.checkpoint import CheckpointDecision
    from pliant.ledger.ledger import Ledger


class BestCheckpoint(AlongLadder):
    """Which checkpoint of a ladder is best after each change."""

    kind = "checkpoint"
    charted: ClassVar[bool] = True

    def answer(self, ledger: Ledger) -> list[CheckpointDecision]:
        """One decision for each ladder, change and measure."""
        return self.decisions(ledger)

    def tables(self, answers: Sequence[CheckpointDecision]) -> dict[str, list[Row]]:
        """A table for each ladder."""
        from pliant.decide.curves.labels import by_ladder

        ladders = by_ladder(answers)
        return {
            name if len(ladders) > 1 else "": [
                {"change": one.name, "measure": one.metric, "verdict": one.verdict, "answer": one.sentence()} for one in found
            ]
            for name, found in ladders.items()
        }
