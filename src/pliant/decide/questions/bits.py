"""The question `bits`: for each rounding along a ladder, how far training may go before it hurts the rounded model.

Idea: the decision about the rounded checkpoints' curve, read the other way round: its best place is the critical one. The fewer
bits, the earlier it comes.
When to use it: a ladder with several roundings of weights. For one model, or beyond the measured, see `pliant decide bits --help`.
Source: training longer makes rounding cost more (arXiv 2411.04330, 2411.17691).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pliant.decide.questions.along import AlongLadder
from pliant.errors import PliantError
from pliant.study.question import Row

if TYPE_CHECKING:
    from pliant.decide.curves.checkpoint import CheckpointDecision
    from pliant.ledger.ledger import Ledger

WITHIN = "not within the ladder"


@dataclass(frozen=True)
class BitsDecision:
    """How far training may go before one rounding, read by one measure, is hurt by it."""

    decision: CheckpointDecision
    """About the curve of the rounded checkpoints."""

    @property
    def bits(self) -> int:
        """Of the rounded weights."""
        return self.decision.change.weight_bits or 0

    @property
    def name(self) -> str:
        """What people call the rounding, and the measure."""
        return f"{self.decision.name}, {self.decision.metric}"

    @property
    def verdict(self) -> str:
        """Of the curve: `degrades` where there is a critical place."""
        return self.decision.verdict

    @property
    def critical(self) -> float | None:
        """The place on the ladder's axis beyond which it hurts; None where it is not shown to."""
        return self.decision.best if self.verdict == "degrades" else None

    def __str__(self) -> str:
        return f"{self.name}: {self.sentence()}"

    def sentence(self) -> str:
        """The answer in one sentence."""
        if self.critical is None:
            return f"that {self.decision.axis.further} is not shown within the ladder"
        return f"{self.decision.axis.further} beyond {self.decision.axis.number(self.critical)} (90% interval {self.interval()})"

    def interval(self) -> str:
        """The places that may be the best, in words."""
        return " to ".join(map(self.decision.axis.number, (self.decision.low, self.decision.high)))

    def json(self) -> dict[str, Any]:
        """Plain values."""
        found, plain = self.decision, self.decision.axis.plain
        return {
            "question": "bits",
            "bits": self.bits,
            "change": found.change.told(found.tuned),
            "metric": found.metric,
            "verdict": found.verdict,
            "critical_tokens": None if self.critical is None else plain(self.critical),
            "low": plain(found.low),
            "high": plain(found.high),
            "rise": found.rise,
        }


class BitsAlongLadder(AlongLadder):
    """How far training may go before it hurts the model at each number of bits."""

    kind = "bits"

    def answer(self, ledger: Ledger) -> list[BitsDecision]:
        """One answer for each ladder, rounding of weights and measure. Raises PliantError where nothing was rounded."""
        found = [BitsDecision(one) for one in self.decisions(ledger) if one.change.weight_bits is not None]
        if not found:
            raise PliantError(f"{ledger.folder}: no change of bits was measured at two places of one ladder")
        return sorted(found, key=lambda one: (one.decision.metric, one.bits))

    def tables(self, answers: Sequence[BitsDecision]) -> dict[str, list[Row]]:
        """One table, by measure and bits."""
        return {
            "": [
                {
                    "change": found.decision.name,
                    "bits": str(found.bits),
                    "measure": found.decision.metric,
                    "verdict": found.verdict,
                    f"{found.decision.axis.further} beyond": (
                        WITHIN if found.critical is None else found.decision.axis.number(found.critical)
                    ),
                    "90% interval of the best": found.interval(),
                }
                for found in answers
            ]
        }
