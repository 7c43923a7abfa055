"""The question `arms`: every arm of a study against one of them, at equal training; see `decide.data.against`.

Idea: arms (branches of a run, ladders beside each other) differ in one thing; what that does to each measure is a difference on the
same samples and seeds. Where an arm has several checkpoints, the last of each is compared.
When to use it: prices of sources (`against: as planned`), criteria of pruning (`against: corpus random`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from pliant.study.question import Question, Row

if TYPE_CHECKING:
    from pliant.decide.data.against import AgainstDecision
    from pliant.ledger.ledger import Ledger


class ArmsAgainstOne(Question):
    """What each arm does, against one of them."""

    kind = "arms"
    against: str = Field(min_length=1, description="The arm that the others are compared with, as its checkpoints' names end")
    measure: str | None = Field(None, description="The name of the one measure to answer by; by default every measure gives its answer")
    margin: float = Field(0.0, ge=0, allow_inf_nan=False, description="Differences that do not matter, in the measure's unit")

    def answer(self, ledger: Ledger) -> list[AgainstDecision]:
        """One decision for each measure. Raises PliantError where the ledger has no such arm."""
        from pliant.decide.data.against import decide

        return decide(ledger, self.against, self.measure, self.margin)

    def tables(self, answers: Sequence[AgainstDecision]) -> dict[str, list[Row]]:
        """A table for each measure."""
        return {found.title(): found.rows() for found in answers}
