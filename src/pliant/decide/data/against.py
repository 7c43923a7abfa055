"""Arms of a study against one of them: how much better or worse each is on the same samples and seeds, with an interval.

Idea: the difference of two arms is taken sample by sample and seed by seed; which samples were read and which seeds were trained are the
two sources of its error (`pliant.comparison.effect`). An interval that has zero inside is no answer: `undetermined`, and how many
seeds would decide. All intervals of one measure hold together (Bonferroni).
What goes wrong: one seed tells nothing of how runs differ, so its intervals are of samples alone, which is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pliant.comparison.effect import effect
from pliant.comparison.sample_size import more_runs
from pliant.errors import PliantError
from pliant.measures.measure import documents
from pliant.spec import nearest
from pliant.statistics import Array, cluster_numbers

if TYPE_CHECKING:
    from pliant.ledger.ledger import Ledger

CONFIDENCE = 0.9
MARK = ", "
"""Between the name of a checkpoint and its arm."""


@dataclass(frozen=True)
class ArmEffect:
    """One arm minus the reference, in the measure's unit."""

    arm: str
    value: float
    low: float
    high: float
    verdict: str
    """better, worse, equivalent or undetermined."""
    seeds: int
    more_seeds: int | None
    """That would decide, were the difference the one seen; None where that is not known."""


@dataclass(frozen=True)
class AgainstDecision:
    """Every arm against one, by one measure."""

    measure: str
    unit: str
    better: str
    against: str
    level: float
    """What the measure reads of the reference."""
    effects: list[ArmEffect]
    caveats: list[str] = field(default_factory=list[str])

    @property
    def name(self) -> str:
        """What it is about."""
        return self.measure

    @property
    def verdict(self) -> str:
        """`answered` where every arm has its verdict."""
        return "undetermined" if any(found.verdict == "undetermined" for found in self.effects) else "answered"

    def title(self) -> str:
        """What people read above the arms."""
        return f"{self.measure} in {self.unit} ({self.better} is better), against {self.against}: {self.level:.4f}"

    def sentence(self) -> str:
        """The answer in one sentence."""
        told = "; ".join(f"{found.arm} {found.value:+.4f} ({found.verdict})" for found in self.effects)
        return f"{self.verdict}: {self.measure} against {self.against} ({self.better} is better): {told}"

    def rows(self) -> list[dict[str, str]]:
        """A row an arm."""
        return [
            {
                "arm": found.arm,
                "difference": f"{found.value:+.4f}",
                "90% interval": f"[{found.low:+.4f}, {found.high:+.4f}]",
                "verdict": found.verdict,
                "more seeds": "" if not found.more_seeds else str(found.more_seeds),
            }
            for found in self.effects
        ]

    def json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "verdict": self.verdict}


def decide(
    ledger: Ledger, against: str, measure: str | None = None, margin: float = 0.0, *, together: bool = True
) -> list[AgainstDecision]:
    """One decision for each measure, or for the one that is named; each arm's interval is for itself alone unless `together`.

    Raises PliantError where the ledger has no such arm or measure.
    """
    read = _readings(ledger)
    arms = {arm for found in read.values() for arm in found}
    if against not in arms:
        raise PliantError(f"no arm is called {against!r}; {nearest(against, sorted(arms)) if arms else 'the ledger has none'}")
    if measure is not None and measure not in {name for name, _, _ in read}:
        raise PliantError(f"no measure is called {measure!r}; {nearest(measure, sorted({name for name, _, _ in read}))}")
    asked = [(key, found) for key, found in read.items() if measure in (None, key[0]) and against in found]
    return [_decided(key, found, against, margin, together) for key, found in asked]


Key = tuple[str, str, str]
"""Measure, unit, and which values are better."""
Seeds = dict[int, tuple[list[str], Array, Array]]
"""Samples, values and weights of one arm by seed."""


def _readings(ledger: Ledger) -> dict[Key, dict[str, Seeds]]:
    """What was read of unchanged checkpoints with an arm in their name: by measure, arm and seed; the longest training counts."""
    rows = ledger.sql(
        "select r.checkpoint, r.measure, r.metric, r.unit, r.better, r.seed, r.tokens, list(s.sample order by s.sample) as samples, "
        "list(s.value order by s.sample) as values, list(s.weight order by s.sample) as weights "
        "from records r join samples s on s.key = r.key and s.draw = r.draw and s.metric = r.metric "
        f"where r.status = 'ok' and r.change_kind = 'none' and contains(r.checkpoint, '{MARK}') "
        "group by all order by r.measure, r.metric, r.tokens, r.checkpoint, r.seed"
    ).to_pylist()
    found: dict[Key, dict[str, Seeds]] = {}
    for row in rows:
        arm = row["checkpoint"].partition(MARK)[2].rpartition("@")[0] or row["checkpoint"].partition(MARK)[2]
        several = {other["metric"] for other in rows if other["measure"] == row["measure"]}
        name = row["measure"] if len(several) == 1 else f"{row['measure']}.{row['metric']}"
        values, weights = np.array(row["values"], float), np.array(row["weights"], float)
        found.setdefault((name, row["unit"], row["better"]), {}).setdefault(arm, {})[row["seed"]] = (row["samples"], values, weights)
    return found


def _decided(key: Key, found: Mapping[str, Seeds], against: str, margin: float, together: bool) -> AgainstDecision:
    name, unit, better = key
    reference = found[against]
    confidence = 1 - (1 - CONFIDENCE) / (max(len(found) - 1, 1) if together else 1)
    effects = [_effect(arm, seeds, reference, better, margin, confidence) for arm, seeds in found.items() if arm != against]
    level = float(np.mean([np.average(values, weights=weights) for _, values, weights in reference.values()]))
    one = min((each.seeds for each in effects), default=0) == 1
    caveats = ["one seed: how much another run would change is in no interval"] if one else []
    return AgainstDecision(name, unit, better, against, level, sorted(effects, key=lambda each: each.arm), caveats)


def _effect(arm: str, seeds: Seeds, reference: Seeds, better: str, margin: float, confidence: float) -> ArmEffect:
    shared = sorted(set(seeds) & set(reference))
    if not shared:
        raise PliantError(f"{arm}: has no seed in common with the arm it is compared with; run the study to its end")
    samples, _, weights = reference[shared[0]]
    if any(one[seed][0] != samples for one in (seeds, reference) for seed in shared):
        raise PliantError(f"{arm}: was read on other samples than the arm it is compared with; measure both on the same data")
    a, b = (np.stack([one[seed][1] for seed in shared]) for one in (reference, seeds))
    told = effect(a, b, weights, cluster_numbers(documents(samples)), 0.0, same_runs=True, confidence=confidence)
    sign = 1 if better == "lower" else -1
    if margin and -margin <= told.low and told.high <= margin:
        said = "equivalent"
    else:
        said = (
            "worse"
            if sign * (told.low if sign > 0 else told.high) > 0
            else "better"
            if sign * (told.high if sign > 0 else told.low) < 0
            else ""
        )
    needed = None if said else more_runs(told, margin)
    return ArmEffect(arm, told.value, told.low, told.high, said or "undetermined", len(shared), needed)
