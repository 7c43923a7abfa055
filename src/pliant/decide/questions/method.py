"""The question `method`: which method to fine-tune with, from runs that a study has made; see `decide.methods.recorded`.

Idea: settings are chosen by the first seed on half of the documents; what was chosen is judged by the other seeds on the other half, where
all have learned as much.
When to use it: a study with `finetune` at several `methods`, `lr` and `steps`, two seeds or more, and two measures.
Source: learning against forgetting at tuned rates, arXiv 2405.09673.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from pliant.study.question import Question, Row

if TYPE_CHECKING:
    from pliant.decide.methods.answer import MethodDecision
    from pliant.ledger.ledger import Ledger


class BestMethod(Question):
    """Which method to fine-tune with."""

    kind = "method"
    named: ClassVar[tuple[str, ...]] = ("target", "keep")
    target: str | None = Field(None, description="The measure of what is learned; by default the one that reads what was trained on")
    keep: str | None = Field(None, description="The measure of what is to be kept; by default the only other one")
    share: float = Field(0.9, gt=0, le=1, description="How much of the way to the lowest target loss counts as learned")
    margin: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="Forgetting that does not matter; by default a twentieth of what is learned"
    )

    def answer(self, ledger: Ledger) -> list[MethodDecision]:
        """One answer for each checkpoint and recipe. Raises PliantError where nothing was fine-tuned, or too little was read."""
        from pliant.decide.methods.recorded import decide_recorded

        return decide_recorded(ledger, self.target, self.keep, self.share, self.margin)

    def tables(self, answers: Sequence[MethodDecision]) -> dict[str, list[Row]]:
        """A table of arms for each answer, which stands above it."""
        from pliant.decide.methods.words import rows

        return {f"{found.name}: {found.sentence()}": rows(found) for found in answers}
