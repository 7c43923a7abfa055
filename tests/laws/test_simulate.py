from __future__ import annotations

import numpy as np
from designs import DESIGNS

from pliant.laws import LAWS
from pliant.laws.tables.simulate import grid, simulate


def test_grid_is_the_product() -> None:
    table = grid(N=(1.0, 2.0), D=(10.0, 20.0, 30.0))
    assert sorted(zip(table["N"], table["D"], strict=True)) == [(n, d) for n in (1, 2) for d in (10, 20, 30)]


def test_noise_is_relative_or_absolute_as_the_law_says() -> None:
    for name, spread in (("chinchilla", lambda noisy, exact: np.log(noisy / exact)), ("error", lambda noisy, exact: noisy - exact)):
        law, design = LAWS[name], DESIGNS[name]
        exact = law(design.columns, design.parameters)
        residuals = np.concatenate(
            [spread(simulate(law, design.columns, design.parameters, 0.02, seed)[law.target], exact) for seed in range(80)]
        )
        # 2000+ draws: the standard error of the standard deviation is below 2%
        assert abs(residuals.std() / 0.02 - 1) < 0.06
        assert abs(residuals.mean()) < 4 * 0.02 / np.sqrt(len(residuals))


def test_same_seed_same_table() -> None:
    law, design = LAWS["ptq"], DESIGNS["ptq"]
    first, second, other = (simulate(law, design.columns, design.parameters, 0.1, seed)["rise"] for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, second)
    assert (first != other).all()
