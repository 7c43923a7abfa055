from __future__ import annotations

import numpy as np
import pytest
from drawn import drawn

from pliant.decide.fits.next_run import candidates, cost, next_run

CONSTANTS = {"E": 1.82, "A": 480.0, "B": 2100.0, "alpha": 0.35, "beta": 0.37}
RUNS = {"N": np.array([1e7, 1e7, 1e8, 1e8]), "D": np.array([1e9, 1e10, 1e9, 1e10])}


def test_candidates_are_affordable_and_reach_one_doubling_beyond() -> None:
    fit = drawn("chinchilla", CONSTANTS, RUNS)
    runs = candidates(fit, None)
    assert cost(fit, runs).max() <= 6 * 1e8 * 1e10 * 1.001
    assert set(runs["N"]) == {5e6, 1e7, 2e7, 5e7, 1e8}  # 2e8 is affordable with 1e9 tokens only: 5 a parameter, where 10 is the least
    assert set(runs["D"] / runs["N"]) <= {10, 20, 50, 100, 200, 500, 1000}
    small = candidates(fit, 6 * 5e15)
    assert set(zip(small["N"], small["D"], strict=True)) == {(1e7, 5e8), (5e6, 1e9)}


def test_a_decision_about_tokens_asks_for_a_run_that_shows_them() -> None:
    """Only B is uncertain: the outcome at the fewest tokens a large model may have (10 a parameter here) depends on it most."""
    fit = drawn("chinchilla", CONSTANTS, RUNS, {"B": 0.2})
    found = next_run([fit], np.log(fit.parameters["B"][:, 0]))
    assert found is not None
    assert found["run"] == {"N": 1e8, "D": 1e9}
    assert found["variance_removed"] > 0.9


def test_share_is_the_linear_gaussian_update() -> None:
    """y = c exactly (rise law with exponents 0): Var(log c) / (Var(log c) + noise^2) of the variance goes."""
    fit = drawn("sensitivity", {"c": 0.1, "p": 1e-9, "q": 1.0, "r": 0.0}, {"D": np.array([1e6, 2e6])}, {"c": 0.02}, draws=4001)
    found = next_run([fit], np.log(fit.parameters["c"][:, 0]))
    assert found is not None
    spread = float(np.var(np.log(fit.parameters["c"][1:, 0])))
    assert found["variance_removed"] == pytest.approx(spread / (spread + fit.noise**2), rel=1e-6)


def test_nothing_to_narrow() -> None:
    fit = drawn("chinchilla", CONSTANTS, RUNS)
    assert next_run([fit], np.zeros(200)) is None
    assert next_run([drawn("chinchilla", CONSTANTS, RUNS, {"B": 0.1})], np.random.default_rng(0).standard_normal(200), 1.0) is None
