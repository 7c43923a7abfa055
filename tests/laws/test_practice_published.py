"""Forms of practice on released tables, against published or independently refitted figures."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from pliant.errors import PliantError
from pliant.laws import LAWS, fit
from pliant.laws.tables.components import principal_components

HELD_OUT = ("constant_72000", "cosine_72000", "wsd_20000_24000", "wsdcon_18", "wsdcon_3", "wsdld_20000_24000")


@pytest.mark.parametrize(
    ("law", "N", "train", "test"),
    [("momentum", 25e6, 2.26e-4, 0.0052), ("momentum", 100e6, 1.29e-4, 0.0046), ("multi_power", 25e6, 1.4e-4, 0.0050)],
)
def test_annealed_runs_from_three_others(shared_data: Path, law: str, N: float, train: float, test: float) -> None:
    """Sum of the robust loss on cosine, constant and one drop, and mean error on six other schedules, as a refit elsewhere had them."""
    path = shared_data / "runs/extrapolation/schedules_25M_100M.csv"
    where = f"N = {N:.0f} and run in ('cosine_24000', 'constant_24000', 'wsdcon_9') and step < 24000"
    found = fit(law, path, {"warmup": "2160"}, where, bootstrap=0)
    assert found.objective * len(found.target) < train * 1.01
    errors: list[float] = []
    with path.open() as stream:
        rows = [row for row in csv.DictReader(stream) if float(row["N"]) == N]
    for name in HELD_OUT:
        run = {column: np.array([float(row[column]) for row in rows if row["run"] == name]) for column in ("step", "lr", "loss")}
        loss = run.pop("loss")
        predicted = found.predict({**run, "run": np.ones(len(loss)), "warmup": np.full(len(loss), 2160.0)})
        errors.append(float(np.abs(predicted - loss).mean()))
    assert np.mean(errors) < test * 1.05


@pytest.mark.parametrize(("router", "where"), [("Hash", "Hash"), ("RL-R", "RL-R")])
def test_routed_models(shared_data: Path, router: str, where: str) -> None:
    """Last evaluations with one expert a token: relative errors near .7%, predictions within .5% of the refitted constants."""
    chosen = f"k = 1 and routing_frequency = 0.5 and router_type in ('{router}', 'Dense') and step >= 249000"
    columns = {"N": "dense_parameter_count", "experts": "num_experts", "loss": "loss_validation"}
    found = fit("experts", shared_data / "runs/practice/routing_curves.csv.gz", columns, chosen, bootstrap=0)
    assert np.sqrt(np.mean(found.residuals() ** 2)) == pytest.approx(0.007, abs=0.001)
    refitted = LAWS["experts"](found.columns, LAWS["experts"].printed[f"2202.01169 {where}, refitted"])
    assert np.abs(np.log(found.predict() / refitted)).mean() < 0.005


def test_shape_explains_what_size_alone_does_not(shared_data: Path) -> None:
    """22 shapes, cooled down: with width and depth the objective is less than half of the chinchilla law's."""
    path = shared_data / "runs/extrapolation/gemstones_cooldown.csv"
    assert fit("width_depth", path, restarts=8, bootstrap=0).objective < fit("chinchilla", path, bootstrap=0).objective / 2


def test_principal_capabilities_of_open_models(shared_data: Path) -> None:
    """Shares .853, .093, .027, and the first component follows the log of compute within families (median R2 .96)."""
    with (shared_data / "runs/practice/observational_base_llm_benchmark_eval.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    names = ("MMLU", "ARC-C", "HellaSwag", "Winograd", "TruthfulQA", "XWinograd", "HumanEval")
    found, share = principal_components({name: [float(row[name] or "nan") for row in rows] for name in (*names, "GSM8K")})
    np.testing.assert_allclose(share, [0.853, 0.093, 0.027], atol=0.002)
    family = np.array([row["Model Family"] for row in rows])
    compute = np.log([float(row["FLOPs (1E21)"] or "nan") for row in rows])
    r2 = [
        np.corrcoef(found["PC1"][mine], compute[mine])[0, 1] ** 2
        for name in np.unique(family)
        if (mine := (family == name) & np.isfinite(compute)).sum() >= 3
    ]
    assert np.median(r2) == pytest.approx(0.964, abs=0.01)
    table = {**found, "score": np.array([float(row["GSM8K"] or "nan") for row in rows])}
    known = np.isfinite(table["score"])
    law = fit("observational", {name: values[known] for name, values in table.items()}, bootstrap=0)
    assert law.noise < 0.06


def test_components_of_a_plane_are_found_with_scores_missing() -> None:
    """One capability behind five benchmarks: a missing score is filled in as the others say it."""
    ability = np.linspace(0.1, 0.9, 12)
    scores = {f"task{index}": 0.1 * index + (0.2 + 0.1 * index) * ability for index in range(5)}
    whole, share = principal_components(scores, 1)
    assert share[0] == pytest.approx(1.0)
    scores["task2"][4] = np.nan
    np.testing.assert_allclose(principal_components(scores, 1)[0]["PC1"], whole["PC1"], atol=1e-6)
    with pytest.raises(PliantError, match="components need"):
        principal_components(scores, 9)
