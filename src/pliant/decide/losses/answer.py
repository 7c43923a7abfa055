"""The answer: losses, rate and decay, and how much better they are on other data than what is fair to compare them with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pliant.comparison.effect import Effect
    from pliant.decide.losses.search import LossSettings, LossTrial
    from pliant.statistics import Array


@dataclass(frozen=True)
class LossArm:
    """One search with its best settings, and what whole runs with them come to."""

    name: str
    settings: LossSettings
    value: float | None
    """Of the best trial, on the data that trials were judged by."""
    tried: Sequence[LossTrial]
    steps: int | None = None
    """Where the whole runs are best on held-out data of their own."""
    kept: float | None = None
    """What they read there."""
    values: Array | None = None
    """(seeds, samples) of all tests, one after the other."""
    command: str = ""
    told: str = ""
    """Why there is no whole run."""

    def json(self) -> dict[str, Any]:
        """Plain values."""
        failed = sum(trial.value is None for trial in self.tried)
        told = {"arm": self.name, "settings": asdict(self.settings), "validation": self.value, "trials": len(self.tried), "failed": failed}
        return {**told, "steps": self.steps, "heldout": self.kept, "command": self.command, "reason": self.told or None}


@dataclass(frozen=True)
class LossTest:
    """One test: what each arm reads, and how much better the searched losses are than each other arm, whichever way is better."""

    name: str
    metric: str
    unit: str
    means: Mapping[str, float]
    gains: Mapping[str, Effect]

    def json(self) -> dict[str, Any]:
        """Plain values."""
        gains = {name: {"value": gain.value, "low": gain.low, "high": gain.high} for name, gain in self.gains.items()}
        return {"test": self.name, "metric": self.metric, "unit": self.unit, "arms": dict(self.means), "gain_over": gains}


@dataclass(frozen=True)
class LossDecision:
    """Which losses to fine-tune with."""

    arms: Sequence[LossArm]
    """The searched losses first, then the control."""
    tests: Sequence[LossTest]
    trials: int
    trial_steps: int
    seeds: int
    better: str
    folder: str

    @property
    def verdict(self) -> str:
        """Over the control on all tests: better, worse, mixed or undetermined; `found` where there is no test."""
        if self.arms[0].steps is None:
            return "failed"
        control = [test.gains[self.arms[1].name] for test in self.tests if self.arms[1].name in test.gains]
        signs = {1 if gain.low > 0 else -1 if gain.high < 0 else 0 for gain in control}
        if not signs:
            return "found"
        return "mixed" if {1, -1} <= signs else "better" if 1 in signs else "worse" if -1 in signs else "undetermined"

    def sentence(self) -> str:
        """The answer."""
        best, control = self.arms[:2]
        if best.steps is None:
            return f"failed: the whole run with the losses that were found: {best.told}"
        weights = ", ".join(f"{name} {weight:g}" for name, weight in sorted(best.settings.losses.items(), key=lambda pair: -pair[1]))
        first = f"lr {best.settings.lr:g}, weight decay {best.settings.weight_decay:g}, beside the loss {weights}; {best.steps:,} steps."
        told = {
            "found": "No --test was given, so that what it gains is not known.",
            "better": f"Better than {control.name} alone with the same labels",
            "worse": f"Worse than {control.name} alone with the same labels: use that",
            "mixed": f"Better than {control.name} alone on one test and worse on another",
            "undetermined": f"Not to be told apart from {control.name} alone with the same labels",
        }[self.verdict]
        gains = [test.gains[control.name] for test in self.tests if control.name in test.gains]
        numbers = "; ".join(f"{gain.value:+.3g} [{gain.low:.3g}, {gain.high:.3g}]" for gain in gains)
        return f"{first} {told}{f': {numbers}.' if numbers else ''}"

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Headings, and a row for every arm."""
        headings = ["arm", "lr", "weight decay", "validation", "steps", "held-out", *(f"{test.metric}: {test.name}" for test in self.tests)]
        rows = [
            [
                arm.name,
                f"{arm.settings.lr:g}",
                f"{arm.settings.weight_decay:g}",
                *("" if one is None else f"{one:.4g}" for one in (arm.value, arm.steps, arm.kept)),
                *(f"{test.means[arm.name]:.4f}" if arm.name in test.means else "" for test in self.tests),
            ]
            for arm in self.arms
        ]
        return headings, rows

    def lines(self) -> list[str]:
        """What to know of the columns, and what to beware of."""
        best = f"the best of {self.trials} trials of {self.trial_steps} steps, {self.better} is better"
        told = [f"validation: {best}; that of the last arm is held-out data"]
        told += [f"failed: {arm.name}: {arm.told}" for arm in self.arms if arm.told]
        for arm in self.arms:
            failed = sum(trial.value is None for trial in arm.tried)
            told += [f"but: {arm.name}: {failed} of {len(arm.tried)} trials diverged"] if failed else []
        return told + (["but: one seed: how much another would change is in no interval"] if self.seeds == 1 else [])

    def json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        best = self.arms[0]
        answer = None if best.steps is None else {"settings": asdict(best.settings), "steps": best.steps, "command": best.command}
        told = {"question": "losses", "answer": answer, "verdict": self.verdict, "tests": [test.json() for test in self.tests]}
        return {**told, "arms": [arm.json() for arm in self.arms], "seeds": self.seeds, "folder": self.folder}
