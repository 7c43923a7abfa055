from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pliant.decide.fits.optimum import minimise


@given(st.lists(st.floats(0.5, 1e6), min_size=1, max_size=5))
def test_finds_each_draws_own_bottom(bottoms: list[float]) -> None:
    centre = np.log(np.array(bottoms))[:, None]
    position, value = minimise(lambda x: (np.log(x) - centre) ** 2 + 3.0, 1e-3, 1e9)
    np.testing.assert_allclose(position, bottoms, rtol=1e-4)
    np.testing.assert_allclose(value, 3.0, atol=1e-8)


def test_two_valleys_the_lower_one_wins() -> None:
    position, _ = minimise(lambda x: np.cos(np.log(x)) + 0.01 * np.log(x) + np.zeros((2, 1)), 1.0, np.exp(12))
    np.testing.assert_allclose(np.log(position), np.pi - 0.01, atol=1e-3)


def test_ends_and_holes() -> None:
    position, _ = minimise(lambda x: x + np.zeros((1, 1)), 2.0, 50.0)
    assert position[0] == pytest.approx(2.0)
    position, _ = minimise(lambda x: np.where(x < 7, np.nan, x) + np.zeros((1, 1)), 2.0, 50.0)
    assert position[0] == pytest.approx(7.0, rel=1e-3)
    position, value = minimise(lambda x: x * np.nan, 2.0, 50.0)
    assert np.isnan(position[0])
    assert np.isnan(value[0])


def test_a_single_point_is_itself() -> None:
    position, value = minimise(lambda x: x**2 + np.zeros((3, 1)), 4.0, 4.0)
    np.testing.assert_allclose(position, 4.0)
    np.testing.assert_allclose(value, 16.0)
