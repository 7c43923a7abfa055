"""The published tables in which groups of runs can be compared at a larger scale than they are judged at, one list for the benchmark."""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pliant.decide.groups.cells import Cells, GroupRuns, Scale, cells_of

SHARED = Path(os.environ.get("PLIANT_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")) / "runs"
Row = tuple[str, float, float, float, float]
"""Group, size, tokens, compute, loss."""


@dataclass(frozen=True)
class Table:
    """Groups at common scales; tables of one origin are not independent."""

    origin: str
    name: str
    cells: Cells


def tables() -> Iterator[Table]:
    """Every table that is there."""
    for origin, name, scale, rows in _rows():
        whole = [row for row in rows if np.isfinite(row[1:]).all() and row[4] > 0]
        names = sorted({row[0] for row in whole})
        numbers = np.array([[names.index(row[0]), *row[1:]] for row in whole])
        numbers = np.unique(numbers, axis=0)
        runs = GroupRuns(names, numbers[:, 0].astype(np.intp), numbers[:, 3], numbers[:, 4], numbers[:, 1], numbers[:, 2])
        yield Table(origin, name, cells_of(runs, scale).near(np.inf))


def _rows() -> Iterator[tuple[str, str, Scale, list[Row]]]:
    recipes = _read("extrapolation/recipes_openwebtext2.csv")
    yield "recipes", "recipes", "compute", [(r["exp"], *_floats(r, "N", "D", "flops", "loss")) for r in recipes]
    for name in ("cooldown", "constant"):
        rows = _read(f"extrapolation/gemstones_{name}.csv")
        for by in ("model", "width"):
            yield "gemstones", f"{name} by {by}", "compute", [_sized(r, by, "N", "D", "loss") for r in rows]
    rows = _read("gadre-overtraining/runs_flat.csv")
    for loss in [column for column in rows[0] if column.startswith("loss_")]:
        yield "gadre", loss, "run", [_sized(r, "dataset", "params", "tokens", loss) for r in rows if r[loss]]
        yield "gadre", f"{loss}, best", "compute", [_sized(r, "dataset", "params", "tokens", loss) for r in rows if r[loss]]
    rows = [r for r in _read("pythia-checkpoints/pythia.csv") if float(r["D"]) > 2e8]
    yield "pythia", "sizes", "compute", [_sized(r, "size", "N", "D", "loss") for r in rows]
    rows = _read("extrapolation/olmo_ladder.csv")
    for loss in ("c4_en", "dolma_books", "dolma_pes2o", "ice", "pile", "wikitext_103"):
        for by in ("mult", "size"):
            yield "olmo", f"{loss} by {by}", "compute", [_sized(r, by, "N", "D", loss) for r in rows if r[loss]]
    yield from _routing()
    small, large = (_read(f"practice/regmix_test_pile_loss_{size}.csv") for size in ("1m", "60m"))
    for loss in [column for column in small[0] if column.startswith("metric")]:
        pairs = [(rows, size) for rows, size in ((small, 1e6), (large, 6e7))]
        yield "regmix", loss, "run", [(r["index"], n, 1e9, 6e9 * n, float(r[loss])) for rows, n in pairs for r in rows if r[loss]]
    rows = [r for r in _read("datablations-repetition/c4_repeated_data_runs.csv") if float(r["epochs"]) < 20]
    rows = [r | {"by": f"{float(r['epochs']):.0f} epochs"} for r in rows]
    yield "datablations", "epochs", "compute", [_sized(r, "by", "params", "tokens", "val_loss") for r in rows]


def _routing() -> Iterator[tuple[str, str, Scale, list[Row]]]:
    """Routers by number of experts: along sizes at the end of training, and along training at each size."""
    rows = _read("practice/routing_curves.csv.gz")
    rows = [r for r in rows if float(r["k"]) == 1 and (r["routing_frequency"] in ("0.5", "") or r["router_type"] == "Dense")]
    rows = [r | {"by": f"{r['router_type']} {r['num_experts']}", "tokens": str(float(r["step"]) * 5.2e5)} for r in rows]
    steps = (10_000, 20_000, 40_000, 60_000, 100_000, 150_000, 250_000)
    for loss in ("loss_validation", "loss_pile"):
        known = [r for r in rows if r[loss] and float(r["step"]) > 0]
        last: dict[str, dict[str, str]] = {}
        for row in known:
            if float(row["step"]) >= max(2e5, float(last.get(row["hyper_id"], row)["step"])):
                last[row["hyper_id"]] = row
        ends = [r | {"tokens": "1.3e11"} for r in last.values()]
        yield "routing", f"{loss} by size", "run", [_sized(r, "by", "dense_parameter_count", "tokens", loss) for r in ends]
        for label in sorted({r["model_size_label"] for r in known}):
            along = [r for r in known if r["model_size_label"] == label and int(r["step"]) in steps]
            if len({r["by"] for r in along}) > 2:
                yield "routing", f"{loss} at {label}", "run", [_sized(r, "by", "dense_parameter_count", "tokens", loss) for r in along]


def _read(path: str) -> list[dict[str, str]]:
    whole = SHARED / path
    with gzip.open(whole, "rt") if whole.suffix == ".gz" else whole.open() as stream:
        return list(csv.DictReader(stream))


def _floats(row: dict[str, str], *names: str) -> list[float]:
    return [float(row[name]) for name in names]


def _sized(row: dict[str, str], by: str, size: str, tokens: str, loss: str) -> Row:
    n, d, y = _floats(row, size, tokens, loss)
    return row[by], n, d, 6 * n * d, y
