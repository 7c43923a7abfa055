"""The best size without a law of size and tokens: exact where the paper's own reasoning is."""

from __future__ import annotations

import numpy as np
import pytest

from pliant.decide import size
from pliant.decide.fits.approaches import envelope, isoflop
from pliant.laws import LAWS, fit
from pliant.statistics import Array

CONSTANTS = {"E": 1.8, "A": 480.0, "B": 2100.0, "alpha": 0.35, "beta": 0.37}
BUDGETS = np.geomspace(1e18, 1e21, 7)


def closed_form(compute: float | Array, alpha: float, beta: float) -> Array:
    """N* = G (C/6)^(beta/(alpha+beta)) with G = (alpha A / (beta B))^(1/(alpha+beta))."""
    level = (alpha * 480.0 / (beta * 2100.0)) ** (1 / (alpha + beta))
    return level * (np.asarray(compute) / 6) ** (beta / (alpha + beta))


def runs(alpha: float, beta: float, shift: float = 1.0) -> tuple[Array, Array, Array]:
    """Nine sizes over two decades at each budget, centred on `shift` times the best."""
    N = (shift * closed_form(BUDGETS, alpha, beta)[:, None] * np.geomspace(0.1, 10, 9)).ravel()
    D = np.repeat(BUDGETS, 9) / (6 * N)
    return N, D, LAWS["chinchilla"]({"N": N, "D": D}, {**CONSTANTS, "alpha": alpha, "beta": beta})


def test_equal_exponents_are_recovered_exactly() -> None:
    for way in (isoflop(*runs(0.35, 0.35), 1e22), envelope(*runs(0.35, 0.35), 1e22)):
        assert way.exponent == pytest.approx(0.5, abs=1e-9)
        assert way.size == pytest.approx(float(closed_form(1e22, 0.35, 0.35)), rel=1e-9)


def test_unequal_exponents_cost_isoflop_one_percent_of_the_size_and_nothing_of_the_exponent() -> None:
    way = isoflop(*runs(0.35, 0.37), 1e22)
    assert way.exponent == pytest.approx(0.37 / 0.72, abs=1e-9)
    assert way.size == pytest.approx(float(closed_form(1e22, 0.35, 0.37)), rel=0.02)
    assert way.size != pytest.approx(float(closed_form(1e22, 0.35, 0.37)), rel=1e-3)


def test_minima_outside_the_sizes_are_left_out_and_said() -> None:
    way = isoflop(*runs(0.35, 0.35, shift=300.0), 1e22)
    assert way.size is None
    assert "7 more have no minimum among their sizes" in way.note


def test_a_table_without_budgets_says_so() -> None:
    generator = np.random.default_rng(0)
    N, D = 10 ** generator.uniform(7, 9, 12), 10 ** generator.uniform(9, 11, 12)
    assert isoflop(N, D, LAWS["chinchilla"]({"N": N, "D": D}, CONSTANTS), 1e22).size is None


def test_size_shows_its_figures_and_the_other_ways() -> None:
    N, D, loss = runs(0.35, 0.37)
    noisy = loss * np.exp(0.002 * np.random.default_rng(0).standard_normal(len(loss)))
    found = fit("chinchilla", {"N": N, "D": D, "loss": noisy}, bootstrap=100)
    decision = size([found], 1e21, {})
    for name, expected in (("tokens", decision.evidence["tokens"]), ("loss", decision.evidence["loss"])):
        value, low, high = decision.evidence["figures"][name]
        assert value == expected
        assert low < value < high
    value, low, high = decision.evidence["figures"]["tokens per parameter"]
    assert low < value < high
    ways = {way["approach"]: way["size"] for way in decision.evidence["approaches"]}
    assert set(ways) == {"parametric", "IsoFLOP", "envelope"}
    assert decision.evidence["disagreement"] == pytest.approx(max(ways.values()) / min(ways.values()))
    assert ways["IsoFLOP"] == pytest.approx(ways["parametric"], rel=0.1)
    assert "approaches" not in size([found], 1e21, {}, served=1e9).evidence
