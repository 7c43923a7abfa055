"""A ledger as a study would leave it, with known truth: means over tokens follow the measured tables of tiny language models."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pliant.ledger.ledger import Ledger
from pliant.ledger.record import Record

TOKENS = [500_000, 1_000_000, 2_000_000, 4_000_000, 8_000_000, 16_000_000]
BASE = [2.599, 2.388, 2.223, 2.114, 2.044, 2.006]
CODE, PROSE = {"source": "builtin:code", "field": None}, {"source": "builtin:prose", "field": None}


def perturb(scale: float) -> dict[str, Any]:
    return {"kind": "perturb", "scale": scale, "unit": "rms", "tensors": "matrices", "draws": 4}


def quantize(bits: int) -> dict[str, Any]:
    return {"kind": "quantize", "bits": bits}


def finetune(lr: float) -> dict[str, Any]:
    return {"kind": "finetune", "data": CODE, "steps": 30, "lr": lr}


GENERIC: list[tuple[dict[str, Any], list[float]]] = [
    ({"kind": "none"}, BASE),
    (perturb(0.05), [2.613, 2.429, 2.309, 2.254, 2.252, 2.247]),
    (perturb(0.1), [2.651, 2.553, 2.562, 2.631, 2.758, 2.836]),
    (perturb(0.2), [2.793, 2.983, 3.340, 3.634, 4.014, 4.216]),
    (quantize(3), [2.796, 2.790, 2.791, 2.927, 3.105, 3.563]),
    (quantize(4), [2.623, 2.461, 2.370, 2.270, 2.260, 2.331]),
    (quantize(5), [2.604, 2.402, 2.248, 2.148, 2.096, 2.056]),
    (quantize(6), [2.601, 2.392, 2.230, 2.124, 2.054, 2.022]),
    (finetune(1e-3), [2.698, 2.520, 2.372, 2.291, 2.244, 2.228]),
    (finetune(3e-3), [2.803, 2.633, 2.511, 2.464, 2.449, 2.484]),
    (finetune(1e-2), [2.962, 2.889, 2.866, 2.888, 2.973, 3.008]),
]
TASK: list[tuple[dict[str, Any], list[float]]] = [
    ({"kind": "none"}, [3.317, 3.284, 3.262, 3.226, 3.227, 3.141]),
    (finetune(1e-3), [2.892, 2.843, 2.798, 2.754, 2.663, 2.601]),
    (finetune(3e-3), [2.590, 2.520, 2.470, 2.430, 2.395, 2.370]),
    (finetune(1e-2), [2.443, 2.379, 2.348, 2.323, 2.360, 2.389]),
]


def synthetic_ledger(
    folder: Path,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    tokens: Sequence[int] = TOKENS,
    final_lr: Sequence[float | None] | None = None,
    params: int = 8784,
    schedule: str = "cosine",
    study: str = "demo",
    name: str = "llama-16x2",
    samples: int = 64,
    noise: float = 0.005,
    failed: Mapping[int, str] | None = None,
    measures: tuple[str, str] = ("generic", "task"),
    densities: Sequence[float] | None = None,
) -> Ledger:
    """Every change of `GENERIC` and `TASK` at every checkpoint, by the names in `measures`.

    With `densities`, one for each of `tokens`, the ladder runs along those.
    `failed` maps a token count to the error of its last change.
    """
    ledger = Ledger(folder, create=True)
    generator = np.random.default_rng(0)
    weights = np.full(samples, 63.0)
    names = [f"doc{number // 2}:{number % 2 * 64}" for number in range(samples)]
    difficulty = {measure: generator.normal(0, 0.3, samples) for measure in measures}
    records: list[Record] = []
    rates = final_lr if final_lr is not None else [0.0] * len(tokens)
    for seed in seeds:
        for place, count in enumerate(tokens):
            common = generator.normal(0, noise)
            for measure, data, table in ((measures[0], PROSE, GENERIC), (measures[1], CODE, TASK)):
                for change, means in table:
                    shift = means[min(place, len(means) - 1)] + common + generator.normal(0, noise)
                    facts: dict[str, Any] = {
                        "study": study,
                        "checkpoint": f"{name}@{count}-seed{seed}",
                        "base_weights": f"{name}-{count}-{seed}",
                        "weights": f"{name}-{count}-{seed}-{json.dumps(change)}",
                        "params": params,
                        "params_non_embedding": params // 2,
                        "tokens": count,
                        "peak_lr": 0.01,
                        "final_lr": rates[place],
                        "schedule": schedule,
                        "change_kind": change["kind"],
                        "change_json": json.dumps(change, sort_keys=True, separators=(",", ":")),
                        "measure": measure,
                        "measure_json": json.dumps({"kind": "loss", "data": data, "samples": samples}, sort_keys=True),
                        "metric": "loss",
                        "unit": "nats/token",
                        "seed": seed,
                        "data": f"data-{measure}",
                        "cell": f"{study}-{name}-{count}-{seed}-{json.dumps(change)}",
                    }
                    if densities is not None:
                        facts |= {"axis": "density", "position": densities[place]}
                    if failed and count in failed and change == table[-1][0]:
                        key = f"failed-{study}-{measure}-{count}-{seed}"
                        ledger.write([Record(**facts, key=key, status="failed", error=failed[count])])
                        continue
                    for draw in range(change.get("draws", 1)):
                        values = shift + difficulty[measure] + generator.normal(0, 0.02, samples)
                        records.append(
                            Record(
                                **facts,
                                draw=draw,
                                key=f"{measure}-{facts['cell']}",
                                value=float(np.average(values, weights=weights)),
                                stderr=float(values.std() / samples**0.5),
                                n=samples,
                                seconds=0.1,
                                sample_ids=names,
                                sample_values=values.tolist(),
                                sample_weights=weights.tolist(),
                            )
                        )
    ledger.write(records)
    form = {"kind": "study", "name": study, "seeds": list(seeds), "questions": ["checkpoint"]}
    ledger.remember(study, form, {record["key"] for record in ledger.records()})
    return ledger
