"""One answer of a comparison: a task, a metric, two systems; and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pliant.comparison.effect import Effect, detectable
from pliant.comparison.sample_size import more_items, more_runs
from pliant.measures.measure import Better

Verdict = Literal["better", "worse", "tied", "undetermined"]


@dataclass(frozen=True)
class Flip:
    """An item that went the other way."""

    item: str
    a: float
    b: float
    text: str = ""


@dataclass(frozen=True)
class Row:
    """`b` against `a` on one task (or over all): `effect.value` is b - a in `unit`; the verdict is about b."""

    task: str
    metric: str
    a: str
    b: str
    unit: str
    better: Better
    a_value: float
    b_value: float
    effect: Effect = field(repr=False)
    p: float
    q: float
    margin: float
    unpaired: int
    lost: int | None
    """Items on which b is worse than a, by at least one step; None where only totals are known."""
    won: int | None
    flips: Sequence[Flip] = field(repr=False, default=())
    notes: Sequence[str] = field(repr=False, default=())
    shrunk: tuple[float, float, float] | None = None
    """The difference drawn towards the mean over tasks, with its interval."""
    noise: float | None = None
    """The metric's run-to-run standard deviation within a system, where there are runs."""
    ranks: tuple[tuple[int, int], tuple[int, int]] | None = None
    """Of a and b among all systems; over all tasks only."""
    items_in: int = 1
    """Tasks that it speaks of."""

    whole_runs: bool = False
    """Whether it compares results of whole runs, with nothing known of items."""
    flips_of: str = ""
    """Over all tasks: the task whose flips are examples of its own."""

    @property
    def verdict(self) -> Verdict:
        """`tied` within the margin; `better` or `worse` where it is real (q at most 1 - confidence); else `undetermined`."""
        found = self.effect
        if -self.margin <= found.low and found.high <= self.margin:
            return "tied"
        if self.q <= 1 - found.confidence + 1e-12 and (found.low > 0 or found.high < 0):
            return "better" if (found.value > 0) == (self.better == "higher") else "worse"
        return "undetermined"

    @property
    def mde(self) -> float:
        """The smallest true difference that this comparison finds four times in five."""
        return detectable(self.effect.stderr, self.effect.freedom, self.effect.confidence)

    @property
    def more_items(self) -> int | None:
        """How many further items would decide; 0 where it is decided."""
        return 0 if self.verdict != "undetermined" else more_items(self._among_all, self.margin)

    @property
    def more_seeds(self) -> int | None:
        """How many further runs of each would decide, on the same items."""
        return 0 if self.verdict != "undetermined" else more_runs(self._among_all, self.margin)

    @property
    def _among_all(self) -> Effect:
        """The difference at the confidence that so many comparisons ask of each."""
        share = self.p / self.q if 0 < self.p < self.q else 1.0
        return replace(self.effect, confidence=1 - (1 - self.effect.confidence) * share)

    def json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        told = {
            "task": self.task,
            "metric": self.metric,
            "unit": self.unit,
            "better": self.better,
            "a": self.a,
            "b": self.b,
            "a_value": self.a_value,
            "b_value": self.b_value,
            "difference": self.effect.value,
            "low": self.effect.low,
            "high": self.effect.high,
            "p": self.p,
            "q": self.q,
            "verdict": self.verdict,
            "margin": self.margin,
            "mde": self.mde,
            "n": self.effect.n,
            "runs": self.effect.runs,
            "unpaired": self.unpaired,
            "flips": {"lost": self.lost, "won": self.won},
            "more_items": self.more_items,
            "more_seeds": self.more_seeds,
            "noise": self.noise,
            "shrunk": None if self.shrunk is None else dict(zip(("difference", "low", "high"), self.shrunk, strict=True)),
            "notes": list(self.notes),
        }
        return told if self.ranks is None else told | {"ranks": {"a": list(self.ranks[0]), "b": list(self.ranks[1])}}
