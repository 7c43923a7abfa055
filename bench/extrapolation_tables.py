"""The tables by which extrapolation is measured: shared runs whose larger runs exist, and simulated ones that break an assumption each."""

from __future__ import annotations

import csv
import gzip
import io
import os
from pathlib import Path

import numpy as np

from pliant.laws import LAWS
from pliant.laws.tables.simulate import grid, simulate

Table = dict[str, np.ndarray]
DATA = Path(os.environ.get("PLIANT_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data")) / "runs"
OLMO = ("c4_en", "dolma_books", "dolma_pes2o", "ice", "pile", "wikitext_103", "hellaswag_val_rc_5shot_bpb")
GADRE = ("loss_openlm", "loss_c4_val", "loss_paloma_falcon-refinedweb", "loss_paloma_redpajama")


def _rows(path: str) -> list[dict[str, str]]:
    content = (DATA / path).read_bytes()
    text = (gzip.decompress(content) if path.endswith(".gz") else content).decode()
    return list(csv.DictReader(io.StringIO(text)))


def _table(rows: list[dict[str, str]], size: str, tokens: str, loss: str) -> Table:
    kept = [row for row in rows if row[size] and row[tokens] and row[loss] and float(row[loss]) > 0]
    return {name: np.array([float(row[column]) for row in kept]) for name, column in (("N", size), ("D", tokens), ("loss", loss))}


def shared() -> dict[tuple[str, str], Table]:
    """By origin and name. Mid-run checkpoints are compared among themselves only (Pythia, routing, the constant schedule)."""
    found: dict[tuple[str, str], Table] = {}
    for kind in ("cooldown", "constant"):
        found["gemstones", kind] = _table(_rows(f"extrapolation/gemstones_{kind}.csv"), "N", "D", "loss")
    recipes = _rows("extrapolation/recipes_openwebtext2.csv")
    for name in sorted({row["exp"] for row in recipes}):
        found["recipes", name] = _table([row for row in recipes if row["exp"] == name], "N", "D", "loss")
    for text in OLMO:
        found["olmo_ladder", text] = _table(_rows("extrapolation/olmo_ladder.csv"), "N", "D", text)
    gadre = _rows("gadre-overtraining/runs_flat.csv")
    for data in sorted({row["dataset"] for row in gadre}):
        for text in GADRE:
            found["gadre", f"{data} {text}"] = _table([row for row in gadre if row["dataset"] == data], "params", "tokens", text)
    repeated = _rows("datablations-repetition/c4_repeated_data_runs.csv")
    found["datablations", "one epoch"] = _table([r for r in repeated if float(r["epochs"]) < 1.001], "params", "tokens", "val_loss")
    pythia = [r for r in _rows("pythia-checkpoints/pythia.csv") if r["dedup"] == r["bf16"] == "0" and float(r["step"]) >= 3000]
    found["pythia", "lambada"] = _table(pythia, "N", "D", "loss")
    routing = [r for r in _rows("practice/routing_curves.csv.gz") if r["router_type"] == "Dense" and float(r["step"]) > 0]
    last = {(r["hyper_id"], r["step"]): r for r in routing if float(r["step"]) % 20000 == 0}
    found["routing", "dense"] = _table(list(last.values()), "dense_parameter_count", "step", "loss_validation")
    steps = [r for r in _rows("extrapolation/schedules_25M_100M.csv") if r["run"] == "constant_72000" and int(r["step"]) >= 4000]
    found["schedules", "constant rate"] = _table(steps[::8], "N", "step", "loss")
    return found


TRUTH = {"E": 1.82, "A": 480.0, "B": 2100.0, "alpha": 0.35, "beta": 0.37}
SIZES = tuple(np.geomspace(1e7, 3e9, 8))
MULTIPLES = np.array([5.0, 10, 20, 40, 80])


def simulated(kind: str, seed: int) -> Table:
    """One table: `exact`, `clusters`, `heteroscedastic`, `confound` (small runs annealed less), `wrong form` (coupled terms, a bend)."""
    columns = grid(N=SIZES, D=(1.0,))
    columns = {"N": np.repeat(columns["N"], len(MULTIPLES)), "D": (columns["N"][:, None] * MULTIPLES).ravel()}
    generator = np.random.default_rng(seed)
    table = simulate(LAWS["chinchilla"], columns, TRUTH, 0.005 if kind == "exact" else 0.003, seed)
    size = np.log(columns["N"] * columns["D"])
    share = (size - size.min()) / np.ptp(size)
    if kind == "clusters":
        table["loss"] *= np.exp(0.008 * np.repeat(generator.standard_normal(len(SIZES)), len(MULTIPLES)))
    if kind == "heteroscedastic":
        table["loss"] *= np.exp(0.03 * (1 - share) * generator.standard_normal(len(size)))
    if kind == "confound":
        table["loss"] *= 1 + 0.02 * (1 - share)
    if kind == "wrong form":
        inner = (30 * columns["N"] ** -0.33 + 60 * columns["D"] ** -0.31) ** 0.6
        table["loss"] = (1.5 + 8 * inner) * np.exp(0.003 * generator.standard_normal(len(size)) + 0.004 * np.sin(6 * share))
    return table


KINDS = ("exact", "clusters", "heteroscedastic", "confound", "wrong form")
