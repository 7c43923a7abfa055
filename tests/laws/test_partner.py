"""No tight interval beside an undetermined partner."""

from __future__ import annotations

import numpy as np

from pliant.laws import LAWS, fit, simulate

TRUTH = {"E": 1e-3, "A": 14.0, "B": 3e4, "alpha": 0.085, "beta": 0.5}


def test_an_exponent_is_as_open_as_the_floor_beside_it() -> None:
    """Small models, falling so slowly that a fit may take the floor for zero: other floors would give other exponents."""
    sizes = np.geomspace(3e7, 2e8, 8)
    columns = {"N": np.repeat(sizes, 5), "D": np.tile(np.geomspace(1e10, 2e11, 5), 8)}
    table = simulate(LAWS["chinchilla"], columns, TRUTH, 0.002, 2)
    found = fit("chinchilla", table, bootstrap="residual:60", restarts=30)
    assert found.unidentifiable.parameters == ("E",)
    low, high = found.interval("alpha")
    assert low <= found.parameters["alpha"] * 1.05
    fixed_low, fixed_high = fit("chinchilla", table, bootstrap="residual:60", restarts=30, fix={"E": 1e-12}).interval("alpha")
    assert high - low > 2 * (fixed_high - fixed_low)
