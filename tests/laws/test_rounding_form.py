"""The fit of rounding's rise, against rises made from known constants."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pliant.errors import PliantError
from pliant.laws.fitting.rounding_form import fit_rounding, resampled

TOKENS, BITS = np.meshgrid([1e6, 2e6, 4e6, 8e6], [3.0, 4.0, 5.0])
TOKENS, BITS = TOKENS.ravel(), BITS.ravel()


@given(st.floats(-8, 2), st.floats(-0.5, 1.5), st.floats(0.3, 2))
def test_exact_rises_give_back_their_constants(constant, power, length):
    rise = np.exp(constant) * TOKENS**power * np.exp(-BITS / length)
    form = fit_rounding(TOKENS, BITS, rise)
    assert (form.constant, form.power, form.length) == pytest.approx((constant, power, length), rel=1e-6, abs=1e-6)
    assert form.rise(TOKENS, BITS) == pytest.approx(rise, rel=1e-6)
    assert form.points == 12


def test_r2_of_a_width_is_lost_by_the_width_that_does_not_follow_the_form():
    rise = 1e-3 * TOKENS**0.5 * np.exp(-BITS / 0.7)
    rise[BITS == 5] = rise[BITS == 5][::-1]  # falls with tokens
    form = fit_rounding(TOKENS, BITS, rise)
    assert form.r2_by_bits[5] < 0 < form.r2_by_bits[3]
    assert form.r2 < 1


@pytest.mark.parametrize(("budgets", "kept"), [(2, (False, False)), (3, (True, False)), (4, (True, True))])
def test_points_too_few_to_miss_the_form_have_no_r2(budgets, kept):
    """A width has a constant and a power, the form a third parameter: each needs two points more than it has parameters."""
    tokens, bits = (column.ravel() for column in np.meshgrid([1e6, 2e6, 4e6, 8e6][:budgets], [3.0, 4.0]))
    rise = 1e-3 * tokens**0.5 * np.exp(-bits / 0.7) * np.resize([1.0, 1.1, 0.9], len(tokens))
    form = fit_rounding(tokens, bits, rise)
    assert (np.isfinite(form.r2), np.isfinite(form.r2_by_bits[3])) == kept


def test_rises_at_or_below_zero_are_left_out():
    rise = 1e-3 * TOKENS**0.5 * np.exp(-BITS / 0.7)
    rise[[0, 5]] = 0.0, -0.1
    form = fit_rounding(TOKENS, BITS, rise)
    assert form.points == 10
    assert form.power == pytest.approx(0.5)


def test_resamples_spread_as_least_squares_says():
    generator = np.random.default_rng(1)
    tokens, bits = np.tile(TOKENS, 8), np.tile(BITS, 8)
    rise = 1e-3 * tokens**0.5 * np.exp(-bits / 0.7 + 0.2 * generator.standard_normal(len(tokens)))
    power = resampled(tokens, bits, rise)[:, 0]
    expected = 0.2 / np.sqrt(len(tokens) * np.var(np.log(TOKENS)))  # standard error of a slope; the design is orthogonal
    assert power.std() == pytest.approx(expected, rel=0.3)


@pytest.mark.parametrize(
    "kept", [BITS == 3, TOKENS == 1e6, (BITS + np.log2(TOKENS / 1e6)) < 4], ids=["one width", "one token count", "three points"]
)
def test_too_few_points_are_refused(kept):
    with pytest.raises(PliantError, match="four rises"):
        fit_rounding(TOKENS[kept], BITS[kept], np.ones(int(kept.sum())))
