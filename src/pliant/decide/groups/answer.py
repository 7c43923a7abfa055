"""The answer to which group is better: a choice with its probability, its price, its ties, and how each chooser did on this table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pliant.decide.groups.record import OwnRecord
from pliant.decide.groups.settle import NextRun


@dataclass(frozen=True)
class RankedGroup:
    """One group at the scale asked for: its loss with a 90% interval, and the probability that it is the best."""

    group: str
    value: float
    low: float
    high: float
    probability: float


@dataclass(frozen=True)
class GroupEvidence:
    """What the choice rests on."""

    scale: str
    """`compute` (each group's best run) or `run` (the same size and tokens)."""
    common_scales: int
    largest_common_compute: float
    distance: float
    """How many times beyond it the question lies; 1 inside the data."""
    rival: str
    """The likeliest other group."""
    lead: float
    """How far the answer was ahead of it when last compared, relative; below zero where it was behind."""
    seed_sd: float | None
    """Standard deviation of log loss between runs that differ in nothing else; None where no run was repeated."""
    interpolated: bool


@dataclass(frozen=True)
class GroupDecision:
    """Which group is better; `json()` is what scripts read."""

    question: str
    answer: str
    verdict: Literal["answered", "undetermined"]
    probability: float
    """That the answer is the best of all groups."""
    regret: float
    """What choosing it loses to the best, to be expected in the middle case, in the loss's own unit."""
    ranking: list[RankedGroup]
    """All groups, in the order in which they would be chosen; a trend that has not earned belief moves values, not the order."""
    method: Literal["law", "ranking", "both"]
    """Who chose: the rank at the largest common scale, the trend of the gaps (the law), or both alike."""
    audit: OwnRecord
    """How either did on this table's own larger scales."""
    next: NextRun | None
    """What would settle it; None where it is settled, or nothing helps."""
    ties: list[str]
    """Groups that cannot be told apart: the smallest set that holds the best one at 90%. Empty where the question is answered."""
    evidence: GroupEvidence = field(repr=False)
    caveats: list[str]

    @property
    def name(self) -> str:
        """What it is about."""
        return self.question

    def json(self) -> dict[str, Any]:
        """Plain values, and the answer in words as `reason`."""
        return asdict(self) | {"reason": self.sentence()}

    def sentence(self) -> str:
        """The answer in one sentence."""
        facts, where = self.evidence, self.question.partition(" at ")[2]
        step = f"{facts.distance:.3g} times below" if facts.distance > 1.03 else "in the data"
        ahead = f"{'ahead of' if facts.lead > 0 else 'behind'} {facts.rival} by {abs(facts.lead):.2%} of the loss"
        ahead = ahead if facts.lead else f"level with {facts.rival}"
        seen = f"at the largest common scale ({facts.largest_common_compute:.3g} FLOPs, {step}) it was {ahead}"
        if self.verdict == "answered":
            return f"{self.answer} is best at {where}, {self.probability:.0%} sure; {seen}"
        listed = " and ".join(self.ties) if len(self.ties) == 2 else some(self.ties)
        return f"{listed} cannot be told apart at {where}; {self.answer} would be chosen, {self.probability:.0%} sure: {seen}"


def some(names: Sequence[str], most: int = 5) -> str:
    """The first few names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
