"""What residuals show: errors that runs of one size share, errors that depend on size, runs gone wrong, a trend."""

from __future__ import annotations

import numpy as np
import pytest

from pliant.laws import LAWS, fit, simulate
from pliant.laws.fitting.resample import cluster_adjusted, leverage
from pliant.laws.fitting.residuals import trend

TRUTH = {"E": 1.82, "A": 480.0, "B": 2100.0, "alpha": 0.35, "beta": 0.37}
SIZES = np.geomspace(2e7, 2e9, 12)
COLUMNS = {"N": np.repeat(SIZES, 6), "D": (SIZES[:, None] * np.geomspace(5, 160, 6)).ravel()}


def runs(seed: int = 0, shared: float = 0.0) -> dict[str, np.ndarray]:
    table = simulate(LAWS["chinchilla"], COLUMNS, TRUTH, 0.003, seed)
    return table | {"loss": table["loss"] * np.exp(shared * np.repeat(np.random.default_rng(seed).standard_normal(12), 6))}


def test_sizes_that_share_errors_are_found_and_widen_exponents() -> None:
    table = runs(shared=0.008)
    found, blind = fit("chinchilla", table, bootstrap=40, restarts=20), fit("chinchilla", table, bootstrap="residual:40", restarts=20)
    assert found.bootstrap.kind == "wild"
    assert any("runs of equal N share errors (12 sizes)" in remark for remark in found.remarks)
    assert found.theta == pytest.approx(blind.theta)
    (low, high), (blind_low, blind_high) = found.interval("alpha"), blind.interval("alpha")
    assert high - low > 1.5 * (blind_high - blind_low)


def test_independent_errors_keep_the_plain_kind() -> None:
    found = fit("chinchilla", runs(), bootstrap=20, restarts=20)
    assert found.bootstrap.kind == "residual"
    assert not any("share errors" in remark or "far off" in remark or "trend" in remark for remark in found.remarks)


def test_uneven_errors_and_runs_gone_wrong_are_named() -> None:
    table, generator = runs(), np.random.default_rng(3)
    scale = COLUMNS["N"] * COLUMNS["D"]
    uneven = table | {"loss": table["loss"] * np.exp(0.05 * (scale.min() / scale) ** 0.3 * generator.standard_normal(len(scale)))}
    assert fit("chinchilla", uneven, bootstrap=20, restarts=20).bootstrap.kind == "wild"
    wrong = table["loss"].copy()
    wrong[[10, 40]] *= 1.3
    remarks = fit("chinchilla", table | {"loss": wrong}, bootstrap=0, restarts=20).remarks
    assert any("2 runs lie far off the law (row " in remark and "11" in remark and "41" in remark for remark in remarks)


def test_a_trend_says_which_way() -> None:
    scale = np.geomspace(1, 1e4, 40)
    assert trend(0.01 * np.log(scale), scale) is not None
    assert "higher" in str(trend(0.01 * np.log(scale), scale))
    assert trend(np.random.default_rng(0).standard_normal(40), scale) is None


def test_clusters_of_one_row_are_the_ordinary_correction() -> None:
    generator = np.random.default_rng(0)
    jacobian, residuals = generator.standard_normal((30, 3)), generator.standard_normal(30)
    adjusted, freedom = cluster_adjusted(residuals, jacobian, np.arange(30))
    assert adjusted == pytest.approx(residuals / np.sqrt(1 - leverage(jacobian)))
    assert 2 <= freedom <= 30


def test_degrees_of_freedom_are_those_of_a_mean() -> None:
    """Six clusters of equal size, a mean: every cluster moves it alike."""
    _, freedom = cluster_adjusted(np.ones(24), np.ones((24, 1)), np.repeat(np.arange(6), 4))
    assert freedom == pytest.approx(6)
