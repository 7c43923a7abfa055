"""The answer: one method with its settings, what it learns and forgets, and how every other arm compares at equal target loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pliant.methods import Method
from pliant.numbers import format_count
from pliant.spec.fields import short_form
from pliant.statistics import Estimate

Verdict = Literal["answered", "equivalent", "undetermined"]


@dataclass(frozen=True)
class ArmResult:
    """One arm: its best setting, what its final runs learn and forget, and how it compares."""

    name: str
    verdict: str
    """recommended, equivalent, worse, better, undetermined, learns less, or failed."""
    told: str = ""
    """Why, where it failed."""
    lr: float | None = None
    methods: tuple[Method, ...] = ()
    learned: Estimate | None = None
    """How far the target loss falls in the whole run."""
    forgotten: Estimate | None = None
    """How far the kept loss rises in the whole run."""
    least: float | None = None
    """The lowest target loss on the way, over seeds."""
    matched: float | None = None
    """How far the kept loss has risen when the target loss is that of the comparison."""
    matched_steps: float | None = None
    difference: Estimate | None = None
    """At that loss: how much more it has forgotten than the recommended arm."""
    more_seeds: int | None = 0
    tried: Sequence[Mapping[str, Any]] = ()
    path: Sequence[Mapping[str, Any]] = ()
    """Steps, target loss, and what is learned and forgotten there, with intervals."""

    def settings(self, steps: int) -> dict[str, Any]:
        """As a study has them."""
        return {"lr": self.lr, "steps": steps, "methods": [short_form(method) for method in self.methods]}

    def short(self) -> str:
        """`lr 0.02, rank 16`: the rate, and the strength of each method."""
        strengths = [f"{m.strength_field.replace('_', ' ')} {getattr(m, m.strength_field):g}" for m in self.methods if m.strength_field]
        return ", ".join([f"lr {self.lr:g}", *strengths])

    def json(self, steps: int) -> dict[str, Any]:
        """Plain values."""
        told = {name: interval(getattr(self, name)) for name in ("learned", "forgotten", "difference")}
        matched = {"forgotten": self.matched, "steps": self.matched_steps}
        ran = self.lr is not None
        return {
            "method": self.name,
            "settings": self.settings(steps) if ran else None,
            "verdict": self.verdict,
            "reason": self.told or None,
            **told,
            "least_loss": self.least,
            "at_level": matched if ran else None,
            "more_seeds": self.more_seeds,
            "path": list(self.path),
            "tried": list(self.tried),
        }


@dataclass(frozen=True)
class MethodDecision:
    """How to fine-tune this model on that data."""

    arms: Sequence[ArmResult]
    """The recommended one first."""
    verdict: Verdict
    steps: int
    seeds: int
    target: str
    keep: str
    base: float
    """Target loss of the base."""
    level: float | None
    """Target loss at which arms are compared."""
    margin: float | None
    trained: int
    """Optimizer steps of the whole search."""
    command: str = ""
    reason: str = ""
    caveats: Sequence[str] = ()
    next: Mapping[str, Any] | None = None
    folder: str = ""
    units: tuple[str, str] = ("nats/token", "nats/token")
    """Of what is learned, and of what is forgotten."""
    of: Sequence[str] = field(default_factory=list[str])
    """The arms that the recommended one cannot be told apart from, or is equivalent to."""
    model: str = ""
    """What was fine-tuned, where answers are about several."""

    @property
    def name(self) -> str:
        """What it is about."""
        return f"{self.target}, keeping {self.keep}{self.model and f': {self.model}'}"

    @property
    def best(self) -> ArmResult | None:
        """The recommended arm; None where nothing learns."""
        return self.arms[0] if self.arms and self.arms[0].verdict == "recommended" else None

    def sentence(self) -> str:
        """The answer."""
        best = self.best
        if best is None or best.learned is None or best.forgotten is None:
            return f"undetermined: {self.reason}"
        unit = "" if self.units[0] == self.units[1] else f" {self.units[1]}"
        learns = f"learns {best.learned.value:.3g} {self.units[0]} of {self.target} in {format_count(self.steps)} steps"
        forgets = f"and forgets {best.forgotten.value:.3g} [{best.forgotten.low:.3g}, {best.forgotten.high:.3g}]{unit} of {self.keep}"
        return f"{best.name}, {best.short()}: {learns}, {forgets}. {self._compared()}"

    def _compared(self) -> str:
        others = [arm for arm in self.arms[1:] if arm.verdict != "failed"]
        if not others:
            return "Nothing was compared with it."
        at = f"at equal target loss ({self.level:.4g})"
        if self.verdict == "equivalent":
            rest = "; the others forget more or learn less" if len(self.of) < len(others) else ""
            who = f"{_listed(self.of)} {'is' if len(self.of) == 1 else 'are'}"
            return f"{who} equivalent to it {at}, within {self.margin:.2g} {self.units[1]}{rest}."
        if self.verdict == "undetermined":
            return f"Undetermined: {at} it cannot be told apart from {_listed(self.of)}. {self._next()}"
        less = [arm.name for arm in others if arm.verdict == "learns less"]
        more = [arm.name for arm in others if arm.verdict == "worse"]
        by = f"by over {self.margin:.2g} {self.units[1]}"
        parts = [f"{_listed(more)} forget{'s' if len(more) == 1 else ''} more {at}, {by}"] if more else []
        parts += [f"{_listed(less)} learn{'s' if len(less) == 1 else ''} less"] if less else []
        return f"{'; '.join(parts)}."

    def _next(self) -> str:
        if self.next is None:
            return "No number of seeds decides what samples leave open: give more held-out data, or a wider --margin."
        return f"{self.next['more_seeds']} more seeds would decide, if it is as it seems."

    def json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        best = self.best
        return {
            "question": "method",
            "answer": None if best is None else {"method": best.name, "settings": best.settings(self.steps), "command": self.command},
            "learned": None if best is None or best.learned is None else best.learned.value,
            "forgotten": None if best is None or best.forgotten is None else best.forgotten.value,
            "low": None if best is None or best.forgotten is None else best.forgotten.low,
            "high": None if best is None or best.forgotten is None else best.forgotten.high,
            "verdict": self.verdict,
            "reason": self.reason or None,
            "equivalent_to": list(self.of) if self.verdict == "equivalent" else [],
            "level": self.level,
            "margin": self.margin,
            "base_loss": self.base,
            "units": {"learned": self.units[0], "forgotten": self.units[1]},
            "steps": self.steps,
            "seeds": self.seeds,
            "trained_steps": self.trained,
            "arms": [arm.json(self.steps) for arm in self.arms],
            "caveats": list(self.caveats),
            "next": self.next,
            "folder": self.folder,
            "model": self.model or None,
        }


def interval(found: Estimate | None) -> dict[str, float] | None:
    """Plain values."""
    return None if found is None else {"value": found.value, "low": found.low, "high": found.high}


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "nothing"
