"""What a finding is: a published claim as a program that re-tests it.

A finding states its claim, the published figure and the rule of its verdict before anything runs. It uses public names only,
so that it doubles as an example. Three sizes: `smoke` (seconds, in CI), `laptop` (minutes), `gpu`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from pliant.spec import Spec

Verdict = Literal["reproduced", "not at this scale", "contradicted"]
Size = Literal["smoke", "laptop", "gpu"]


@dataclass(frozen=True)
class Outcome:
    """What came out of one run of a finding."""

    verdict: Verdict
    ours: str
    """Our figure, in the words of the published one."""
    checks: dict[str, bool] = field(default_factory=dict[str, bool])
    """The parts of the rule, each with whether it held."""
    figures: dict[str, Any] = field(default_factory=dict[str, Any])
    """Every number behind it, as plain JSON values."""


class Finding(Spec):
    """Base of all findings. Abstract: a subclass states the class attributes and writes `test`."""

    paper: ClassVar[str]
    """Title and arXiv number."""
    claim: ClassVar[str]
    """The published claim in our words."""
    published: ClassVar[str]
    """The published figure."""
    rule: ClassVar[str]
    """How the verdict is decided; written before the run."""

    size: Size = Field("smoke", description="smoke: seconds; laptop: minutes on two cores; gpu: an accelerator, up to hours")

    def test(self, folder: Path) -> Outcome:
        """Run it, keeping whatever it computes (ledgers, checkpoints) in `folder`, so that a second run is instant."""
        raise NotImplementedError

    @property
    def first_seed(self) -> int:
        """Of a finding whose steps and rates were settled by trying size smoke: the other sizes have seeds that nobody has tried."""
        return 0 if self.size == "smoke" else 1000

    def judged(self, held: dict[str, bool], against: bool) -> Verdict:
        """`verdict` of a finding that needs more steps than size smoke has: there nothing is contradicted."""
        return verdict(held, against and self.size != "smoke")

    def row(self, outcome: Outcome) -> dict[str, Any]:
        """Claim, published figure, ours and verdict: one row of the findings table."""
        stated = {"finding": self.kind, "paper": self.paper, "claim": self.claim, "published": self.published, "rule": self.rule}
        return {**stated, "size": self.size, **asdict(outcome)}


def verdict(held: dict[str, bool], against: bool = False) -> Verdict:
    """`reproduced` when every check held; else `contradicted` when the effect went the other way, or it did not show at this scale."""
    return "reproduced" if all(held.values()) else "contradicted" if against else "not at this scale"
