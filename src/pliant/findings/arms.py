"""The two arms that findings about over-training run: annealed ladders, and the un-decayed trajectory beside them.

Learning-rate decay is the rival explanation of growing sensitivity, so no finding shows one arm without the other.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

import pliant as pl
from pliant.changes import Change
from pliant.data import Corpus
from pliant.decide import CheckpointDecision
from pliant.findings.finding import Size
from pliant.measures.measure import documents
from pliant.statistics import Array, paired_difference

Z90 = 1.645


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
    name: str,
    size: Size,
    corpus: Corpus,
    task: Corpus,
    changes: Sequence[Any],
    folder: Path,
    schedule: str = "cosine",
    methods: Sequence[Any] = (),
    only: tuple[str, str] | None = None,
) -> pl.study.Runs:
    """One ladder with `changes` and both losses, in the ledger in `folder`. What is there already is not run again.

    `methods` alter its training; `only` is one of its models and one of its budgets, for findings that need no ladder.
    """
    scale = SCALES[size]
    names, tokens = ([part] for part in only) if only else (scale.models, scale.tokens)
    models = [{"preset": model, "tokenizer": "ascii", "context": scale.context} for model in names]
    ladder = {"model": models, "corpus": corpus, "tokens": list(tokens), "schedule": schedule, "methods": list(methods)}
    study = {
        "name": f"{name}-{schedule}",
        "checkpoints": {"ladder": {**ladder, "precision": "bf16" if size == "gpu" else "fp32"}},
        "changes": ["none", *changes],
        "measures": {"generic": {"loss": {"data": corpus}}, "task": {"loss": {"data": task}}},
        "seeds": list(range(scale.seeds)),
    }
    return pl.run(study, folder, device="cuda" if size == "gpu" else None)


@dataclass(frozen=True)
class Readings:
    """The losses, nats/token, of every checkpoint after one change on the same samples: `values` (seeds, checkpoints, samples)."""

    values: Array
    weights: Array
    documents: list[str]

    def above(self, other: Readings) -> tuple[float, float, float]:
        """How much higher these are than `other`, on average over checkpoints, with a 90% interval over seeds and documents."""
        difference = (self.values - other.values).mean(axis=1)
        rise = paired_difference(difference[:, None], np.zeros_like(difference), self.weights, self.documents)
        reach = Z90 * rise.stderr  # not the wider interval of Student's t: the rules were written down with this one
        return rise.value, rise.value - reach, rise.value + reach

    def mean(self) -> Array:
        """Of each checkpoint, over seeds and samples: (checkpoints,)."""
        return self.values.mean(axis=0) @ self.weights / self.weights.sum()


def readings(runs: pl.study.Runs, measure: str = "generic") -> list[tuple[dict[str, Any], Readings]]:
    """What `measure` read after each change, checkpoints in the order of size and tokens."""
    rows = runs.ledger.sql(
        "select change_json, seed, list(value order by sample) as values, list(weight order by sample) as weights, "
        "list(sample order by sample) as samples from samples "
        f"where study = '{runs.study.name}' and measure = '{measure}' group by change_json, seed, params, tokens "
        "order by change_json, seed, params, tokens"
    ).to_pylist()
    found: list[tuple[dict[str, Any], Readings]] = []
    for form, group in groupby(rows, key=itemgetter("change_json")):
        members = list(group)
        values = np.array([row["values"] for row in members]).reshape(len({row["seed"] for row in members}), -1, len(members[0]["values"]))
        found.append((json.loads(form), Readings(values, np.array(members[0]["weights"], float), documents(members[0]["samples"]))))
    return found


def curves(runs: pl.study.Runs, kind: type[Change], measure: str = "generic") -> dict[Any, list[CheckpointDecision]]:
    """Decisions about `measure` after each change of `kind`, by how strong it is."""
    found: dict[Any, list[CheckpointDecision]] = {}
    for decision in pl.decide.checkpoint(runs):
        if isinstance(decision.change, kind) and decision.metric == measure and not decision.tuned:
            found.setdefault(decision.change.strength, []).append(decision)
    return dict(sorted(found.items()))


def deltas(decision: CheckpointDecision) -> list[float]:
    """What the change did at each checkpoint, in the order of tokens."""
    return [point.delta or 0.0 for point in decision.evidence.curve]


def growth(decision: CheckpointDecision) -> float:
    """How many times larger the change's effect is at the last checkpoint than at the first."""
    first, *_, last = deltas(decision)
    return last / first if first > 0 else float("inf")
