"""Resamples, and intervals that cover."""

from __future__ import annotations

import numpy as np
import pytest
from designs import DESIGNS

from pliant.errors import PliantError
from pliant.laws import LAWS, fit
from pliant.laws.fitting.resample import Bootstrap, drawn_weights, error_sizes, leverage, noise_level, pinned, residual_errors, wild_errors
from pliant.laws.tables.simulate import simulate

GENERATOR = np.random.default_rng


def test_forms() -> None:
    assert Bootstrap.parse(None, False) == Bootstrap("residual", 400)
    assert Bootstrap.parse(0, False).samples == 0
    assert Bootstrap.parse("run:50", False) == Bootstrap("run", 50)
    assert Bootstrap.parse("70", True) == Bootstrap("wild", 70)
    assert Bootstrap.parse("cluster", True) == Bootstrap("cluster", 400)
    for wrong in ("run:x", "jackknife", -3, "residual:-1"):
        with pytest.raises(PliantError):
            Bootstrap.parse(wrong, False)
    with pytest.raises(PliantError, match="knows no clusters"):
        Bootstrap.parse("residual", True)


def test_leverage_is_the_diagonal_of_the_hat_matrix() -> None:
    jacobian = GENERATOR(0).standard_normal((12, 3))
    hat = jacobian @ np.linalg.inv(jacobian.T @ jacobian) @ jacobian.T
    np.testing.assert_allclose(leverage(jacobian), np.diag(hat), rtol=1e-10)
    assert leverage(jacobian).sum() == pytest.approx(3)
    np.testing.assert_allclose(leverage(np.hstack([jacobian, jacobian[:, :1]])), np.diag(hat), rtol=1e-8)  # a flat direction


def test_pinned_runs_are_left_out_of_what_is_drawn() -> None:
    residuals = np.array([0.0, 1e-5, -2e-4, 0.02, -0.03, 0.04, 0.01, -0.02])
    assert pinned(residuals, 2, 1e-3) == 2
    assert pinned(residuals, 5, 1e-3) == 3
    assert pinned(residuals, 5, np.inf) == 0
    np.testing.assert_allclose(np.sort(error_sizes(residuals, 3, 1e-3)), np.sort(np.abs(residuals))[3:])
    np.testing.assert_allclose(error_sizes(residuals, 3, np.inf), np.abs(residuals) * np.sqrt(8 / 5))


def test_noise_of_a_robust_fit_is_that_of_its_runs() -> None:
    """300 tables of 20 runs and 4 parameters, fitted by least absolute deviations as a linear programme.

    The mean estimate is within 10% (pilot: 6% above, standard error 1.6%); with the pinned runs it is a fifth too small.
    """
    from scipy.optimize import linprog

    noise = 0.02
    generator, levels, naive = GENERATOR(0), [], []
    for _ in range(300):
        design = generator.standard_normal((20, 4))
        errors = noise * generator.standard_normal(20)
        costs, both = np.r_[np.zeros(4), np.ones(40)], np.hstack([design, np.eye(20), -np.eye(20)])
        solved = linprog(costs, A_eq=both, b_eq=errors, bounds=[(None, None)] * 4 + [(0, None)] * 40)
        residuals = errors - design @ solved.x[:4]
        levels.append(noise_level(residuals, 4, 1e-3) / noise)
        naive.append(1.4826 * np.median(np.abs(residuals)) / noise)
    assert np.mean(levels) == pytest.approx(1.0, abs=0.1)
    assert np.mean(naive) < 0.85


def test_noise_of_gaussian_errors() -> None:
    residuals = 0.02 * GENERATOR(1).standard_normal(4000)
    assert noise_level(residuals, 5, np.inf) == pytest.approx(np.sqrt((residuals**2).sum() / 3995), rel=1e-12)
    assert noise_level(residuals, 5, 1e-3) == pytest.approx(0.02, rel=0.05)  # the median's standard error is 2%


def test_residual_errors_have_the_size_and_no_sign() -> None:
    residuals = GENERATOR(0).standard_normal(50)
    errors = residual_errors(residuals, 5, np.inf, 2000, GENERATOR(1))
    assert errors.shape == (2000, 50)
    assert errors.std() == pytest.approx(np.sqrt(np.mean(residuals**2) * 50 / 45), rel=0.02)
    assert abs(errors.mean()) < 4 * errors.std() / np.sqrt(errors.size)
    assert len(np.unique(np.abs(errors))) == 50
    smooth = residual_errors(residuals, 5, 1e-3, 2000, GENERATOR(1))
    assert len(np.unique(np.abs(smooth))) == smooth.size


def test_wild_errors_stay_with_their_run_and_their_cluster() -> None:
    residuals = np.where(np.arange(40) < 20, 0.1, 10.0)
    jacobian = np.stack([np.ones(40), (-1.0) ** np.arange(40)], axis=1)
    errors = wild_errors(residuals, jacobian, np.inf, None, 3000, GENERATOR(0))
    small, large = errors[:, :20].std(), errors[:, 20:].std()
    assert large / small > 2  # smoothing alone would make them equal
    clusters = np.repeat(np.arange(8), 5)
    together = wild_errors(np.full(40, 5.0), jacobian, np.inf, clusters, 200, GENERATOR(0))
    signs = np.sign(together.reshape(200, 8, 5))
    agreement = np.abs(signs.mean(axis=2))
    assert np.median(agreement) == 1.0


def test_drawn_weights_keep_clusters_whole() -> None:
    clusters = np.array([0, 0, 1, 1, 1, 2])
    weights = drawn_weights(6, clusters, 50, 0)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 2] == weights[:, 4]).all()
    assert (weights[:, [0, 2, 5]].sum(axis=1) == 3).all()
    assert (drawn_weights(6, None, 50, 0).sum(axis=1) == 6).all()


def test_intervals_of_a_mean_are_those_of_the_textbook() -> None:
    """Least squares of a constant: the standard error of resamples is s / sqrt(n), whichever way they are drawn."""
    y = 2.0 + 0.1 * GENERATOR(3).standard_normal(60)
    table = {"L": np.linspace(2, 3, 60), "error": y, "family": np.arange(60).astype(str)}
    expected = y.std(ddof=1) / np.sqrt(60)
    for kind in ("residual:2000", "run:2000"):
        found = fit("error", table, fix={"k": 1e-12, "gamma": 1.0}, loss="squares", bootstrap=kind)
        assert found.resamples["epsilon"].std() == pytest.approx(expected, rel=0.08)
    wild = fit("error", table, fix={"k": 1e-12, "gamma": 1.0}, loss="squares", bootstrap="wild:2000")
    assert expected * 0.95 < wild.resamples["epsilon"].std() < expected * 1.25  # smoothing and Student's tail widen it


def test_clustered_noise_widens_clustered_intervals() -> None:
    design = DESIGNS["chinchilla"]
    table = simulate(LAWS["chinchilla"], design.columns, design.parameters, 0.001, 0)
    family = table["N"].astype(int).astype(str)
    shift = dict(zip(np.unique(family), 0.02 * GENERATOR(0).standard_normal(5), strict=True))
    spoiled = table | {"loss": table["loss"] * np.exp([shift[name] for name in family]), "family": family}
    rows = fit("chinchilla", spoiled, bootstrap="wild:200", loss="squares", fix={"alpha": 0.35}).resamples["A"]
    families = fit("chinchilla", spoiled, bootstrap="wild:200", clusters="family", loss="squares", fix={"alpha": 0.35}).resamples["A"]
    assert np.log(families).std() > 1.2 * np.log(rows).std()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "tables"), [("chinchilla", 40), ("error", 60)])
def test_intervals_cover(name: str, tables: int) -> None:
    """docs/laws-coverage.md has 200 tables for every law: 88% to 95%. The bounds here are three standard errors wider."""
    law, design = LAWS[name], DESIGNS[name]
    inside = []
    for seed in range(tables):
        found = fit(law, simulate(law, design.columns, design.parameters, design.noise, 10_000 + seed), bootstrap=150, restarts=8)
        inside.append([low < design.parameters[p] < high for p in found.coordinates.names for low, high in [found.interval(p)]])
    assert 0.78 < np.mean(inside) < 0.99


def test_intervals_without_bootstrap_samples_say_so() -> None:
    design = DESIGNS["error"]
    found = fit("error", simulate(LAWS["error"], design.columns, design.parameters, 0.01, 0), bootstrap=0)
    for what in ("gamma", {"L": 2.0}):
        with pytest.raises(PliantError, match="no bootstrap samples"):
            found.interval(what)
    assert found.summary()["parameters"]["gamma"]["low"] is None
