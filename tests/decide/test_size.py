from __future__ import annotations

import numpy as np
import pytest
from drawn import drawn
from hypothesis import given
from hypothesis import strategies as st

from pliant.decide import size
from pliant.decide.fits.bootstrapped import BootstrappedFit
from pliant.decide.fits.size import split
from pliant.errors import PliantError
from pliant.laws import LAWS

CONSTANTS = {"E": 1.82, "A": 480.0, "B": 2100.0, "alpha": 0.35, "beta": 0.37}


def fit(spread: float = 0.0) -> BootstrappedFit:
    measured = {"N": np.array([1e7, 1e8, 1e9]), "D": np.array([1e9, 1e10, 1e11])}
    return drawn("chinchilla", CONSTANTS, measured, {"A": spread, "B": spread})


@given(st.floats(1e18, 1e23))
def test_split_has_the_closed_form(compute: float) -> None:
    """N* = G (C/6)^(beta/(alpha+beta)) with G = (alpha A / (beta B))^(1/(alpha+beta))."""
    a, b = CONSTANTS["alpha"], CONSTANTS["beta"]
    expected = (a * CONSTANTS["A"] / (b * CONSTANTS["B"])) ** (1 / (a + b)) * (compute / 6) ** (b / (a + b))
    best, _ = split([fit()], compute, {})
    assert best[0] == pytest.approx(expected, rel=1e-4)


def test_tokens_follow_from_the_budget() -> None:
    decision = size([fit(0.05)], 6e19, {})
    assert 6 * decision.answer * decision.evidence["tokens"] == pytest.approx(6e19, rel=1e-9)
    assert decision.verdict == "answered"
    assert decision.low is not None
    assert decision.high is not None
    assert decision.low < decision.answer < decision.high


def test_serving_asks_for_a_smaller_model_against_brute_force() -> None:
    served, compute = 1e11, 6e19
    sizes = np.geomspace(1e6, 2.9e8, 200_001)
    D = (compute - 2 * sizes * served) / (6 * sizes)
    brute = sizes[np.nanargmin(LAWS["chinchilla"]({"N": sizes, "D": np.where(D > 0, D, np.nan)}, CONSTANTS) * -1 * -1)]
    decision = size([fit()], compute, {}, served=served)
    assert decision.answer == pytest.approx(brute, rel=1e-3)
    assert decision.answer < size([fit()], compute, {}).answer
    assert 6 * decision.answer * decision.evidence["tokens"] + 2 * decision.answer * served == pytest.approx(compute, rel=1e-9)


def test_refuses_a_budget_far_beyond_the_runs() -> None:
    decision = size([fit()], 1e26, {})
    assert decision.verdict == "refused"
    assert decision.answer is None


def test_serving_more_than_the_budget_is_one_line() -> None:
    with pytest.raises(PliantError, match="raise the budget"):
        size([fit()], 1e12, {}, served=1e13)
