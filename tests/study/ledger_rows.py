"""Records made by hand, for the tests of the ledger."""

import numpy as np

from pliant.ledger.record import Record
from pliant.spec import digest
from pliant.statistics import clustered_error, weighted_mean

NONE = '{"kind":"none"}'


def record(change=NONE, *, kind="none", measure="generic", seed=0, draw=0, base="b0", values=(1.0, 2.0, 4.0), status="ok", **fields):
    """One record whose samples are windows of as many documents, of weight 1, 2, 3 ..."""
    values, weights = np.asarray(values, float), np.arange(1.0, len(values) + 1)
    cell = digest(f"{base} {change} {seed}")
    made = {
        "study": "s",
        "checkpoint": f"ladder@{base}",
        "weights": digest(f"{base} {change} {seed} {draw}"),
        "base_weights": base,
        "params": 100,
        "tokens": 1000,
        "change_kind": kind,
        "change_json": change,
        "measure": measure,
        "measure_json": f'{{"kind":"{measure}"}}',
        "metric": "loss",
        "value": weighted_mean(values, weights),
        "stderr": clustered_error(values, weights),
        "n": len(values),
        "unit": "nats/token",
        "seed": seed,
        "draw": draw,
        "data": "d0",
        "cell": cell,
        "key": digest(f"{cell} {measure}"),
        "sample_ids": [f"doc{i}:0" for i in range(len(values))],
        "sample_values": values,
        "sample_weights": weights,
        "status": status,
    } | fields
    if status != "ok":
        made |= dict.fromkeys(("value", "stderr", "n", "weights")) | dict.fromkeys(("sample_ids", "sample_values", "sample_weights"), ())
    return Record(**made)
