"""The two arms that findings about over-training run: annealed ladders, and the un-decayed trajectory beside them.

Learning-rate decay is the rival explanation of growing sensitivity, so no finding shows one arm without the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pliant as pl
from pliant.data import Corpus
from pliant.decide import CheckpointDecision
from pliant.findings.finding import Size


@dataclass(frozen=True)
class Scale:
    """How much is trained at one size of a finding."""

    models: tuple[str, ...]
    tokens: tuple[str, ...]
    seeds: int
    draws: int
    context: int = 64


SCALES: dict[Size, Scale] = {
    "smoke": Scale(("llama-16x2",), ("0.25M", "0.5M", "1M", "2M"), 1, 4),
    "laptop": Scale(("llama-16x2",), ("0.25M", "0.5M", "1M", "2M", "4M", "8M", "16M"), 3, 4),
    "gpu": Scale(("llama-100k", "llama-1m", "llama-10m"), ("8M", "16M", "32M", "64M", "128M", "256M", "512M"), 3, 8, 256),
}
"""At `gpu` the last budget is four epochs of 130M characters; each size has the learning rate tuned for its width."""


def run_arm(
    name: str, size: Size, corpus: Corpus, task: Corpus, changes: Sequence[Any], folder: Path, schedule: str = "cosine"
) -> pl.study.Runs:
    """One ladder with `changes` and both losses, in the ledger in `folder`. What is there already is not run again."""
    scale = SCALES[size]
    models = [{"preset": model, "tokenizer": "ascii", "context": scale.context} for model in scale.models]
    ladder = {"model": models, "corpus": corpus, "tokens": list(scale.tokens), "schedule": schedule}
    study = {
        "name": f"{name}-{schedule}",
        "checkpoints": {"ladder": {**ladder, "precision": "bf16" if size == "gpu" else "fp32"}},
        "changes": ["none", *changes],
        "measures": {"generic": {"loss": {"data": corpus}}, "task": {"loss": {"data": task}}},
        "seeds": list(range(scale.seeds)),
    }
    return pl.run(study, folder, device="cuda" if size == "gpu" else None)


def curves(runs: pl.study.Runs, kind: str, field: str, measure: str = "generic") -> dict[Any, list[CheckpointDecision]]:
    """Decisions about `measure` after each change of `kind`, by the value of the field that says how strong it is."""
    found: dict[Any, list[CheckpointDecision]] = {}
    for decision in pl.decide.checkpoint(runs):
        if decision.change["kind"] == kind and decision.metric == measure and isinstance(decision.change[field], (int, float)):
            found.setdefault(decision.change[field], []).append(decision)
    return dict(sorted(found.items()))


def deltas(decision: CheckpointDecision) -> list[float]:
    """What the change did at each checkpoint, in the order of tokens."""
    return [point["delta"] for point in decision.evidence["curve"]]


def growth(decision: CheckpointDecision) -> float:
    """How many times larger the change's effect is at the last checkpoint than at the first."""
    first, *_, last = deltas(decision)
    return last / first if first > 0 else float("inf")
