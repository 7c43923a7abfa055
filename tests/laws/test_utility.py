from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pliant.laws.forms import utility_compat
from pliant.laws.forms.utility import LAW, mixture

EPOCH = 12.8e6
POOLS = [(-0.2, 4.0), (-0.15, 6.0), (-0.1, 10.0)]  # b, tau of the three best buckets
GOLDEN = {
    12.8e6: (0.9130, 0.9562, 1.0016),
    32e6: (0.8010, 0.8600, 0.9289),
    64e6: (0.7456, 0.8062, 0.8837),
    128e6: (0.7176, 0.7729, 0.8502),
    640e6: (0.7081, 0.7550, 0.8219),
}


def constants(pool: tuple[float, float]) -> dict[str, float]:
    return {"a": 0.022, "b": pool[0], "tau": pool[1], "d": 0.1}


def mixed(pools: list[tuple[float, float]], n: float, size: float = EPOCH, compat: bool = False) -> float:
    b, tau = np.array(pools).T
    return float(mixture(n, np.full(len(pools), size), b, tau, 0.022, 0.1, compat=compat))


@pytest.mark.parametrize("samples", GOLDEN)
def test_golden_values(samples: float) -> None:
    for pool, expected in zip(POOLS, GOLDEN[samples], strict=True):
        assert LAW({"n": samples, "S": EPOCH}, constants(pool)) == pytest.approx(expected, abs=5e-5)


@given(st.floats(0.01, 1.0))
def test_one_pass_is_the_power_law(fraction: float) -> None:
    n = fraction * EPOCH
    assert LAW({"n": n, "S": EPOCH}, constants(POOLS[0])) == pytest.approx((0.022 * n / 1e5) ** -0.2 + 0.1, rel=1e-12)


@given(st.floats(0.1, 60), st.sampled_from(POOLS), st.booleans())
def test_a_mixture_of_one_pool_is_that_pool(epochs: float, pool: tuple[float, float], compat: bool) -> None:
    law = utility_compat.LAW if compat else LAW
    expected = law({"n": epochs * EPOCH, "S": EPOCH}, constants(pool))
    assert mixed([pool], epochs * EPOCH, compat=compat) == pytest.approx(float(expected), rel=1e-12)


@given(st.floats(0.1, 30))
def test_a_mixture_of_equal_pools_lasts_longer(epochs: float) -> None:
    """p copies of one pool are one pool p times the size with p times the half-life."""
    big = mixed([(-0.2, 12.0)], epochs * EPOCH, size=3 * EPOCH)
    assert mixed([POOLS[0]] * 3, epochs * EPOCH) == pytest.approx(big, rel=1e-12)


def test_mixture_by_hand() -> None:
    """Two pools, two combined epochs: x_0^mean(b) * 2^(mean of b_i (1/2)^(1 / (2 tau_i)))."""
    late = (-0.2 * 0.5 ** (1 / 8) - 0.15 * 0.5 ** (1 / 12)) / 2
    expected = (0.022 * 2 * EPOCH / 1e5) ** -0.175 * 2**late + 0.1
    assert mixed(POOLS[:2], 4 * EPOCH) == pytest.approx(expected, rel=1e-12)


def test_many_bootstrap_samples_at_once() -> None:
    b, tau = np.array([[-0.2, -0.1], [-0.3, -0.1]]), np.array([[4.0, 10.0], [3.0, 9.0]])
    together = mixture(5 * EPOCH, np.full(2, EPOCH), b, tau, 0.022, 0.1)
    alone = [mixture(5 * EPOCH, np.full(2, EPOCH), b[row], tau[row], 0.022, 0.1) for row in range(2)]
    np.testing.assert_allclose(together, alone, rtol=1e-12)


def test_the_best_choice_moves_from_the_best_pool_to_the_mixture() -> None:
    """Two pools (b, tau) = (-.2, 2) and (-.15, 20): alone at first, together once the better one is worn out."""
    fast, lasting = (-0.2, 2.0), (-0.15, 20.0)
    gain = np.array([mixed([fast], n) - mixed([fast, lasting], n) for n in EPOCH * 2.0 ** np.arange(0, 7)])
    assert gain[0] < 0 < gain[-1]
    assert (np.diff(np.sign(gain)) != 0).sum() == 1
