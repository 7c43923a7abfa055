"""The difference of two systems: identities first, then what its interval covers."""

import numpy as np
import pytest
from scipy import stats

from pliant.comparison.effect import detectable, effect
from pliant.comparison.sample_size import grown, more_items
from pliant.statistics import clustered_error

ONE = np.ones


def alone(n):
    return np.arange(n)


def test_one_run_without_a_step_is_the_paired_t_test():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 1, 25))
    found = effect(a, b, ONE(25), alone(25), 0.0)
    interval = stats.ttest_rel(b[0], a[0]).confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-9)


def test_families_count_as_the_ratio_estimator_has_them():
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((2, 1, 30))
    weights, families = rng.uniform(0.5, 2, 30), np.repeat(np.arange(10), 3)
    found = effect(a, b, weights, families, 0.0)
    assert found.stderr == pytest.approx(clustered_error((b - a)[0], weights, families), rel=1e-12)


def test_runs_that_agree_add_nothing():
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((2, 1, 40))
    several = effect(np.repeat(a, 4, 0), np.repeat(b, 4, 0), ONE(40), alone(40), 0.0)
    assert several.of_runs == pytest.approx(0, abs=1e-15)
    assert several.stderr == pytest.approx(effect(a, b, ONE(40), alone(40), 0.0).stderr, rel=1e-12)


def test_runs_whose_means_alone_differ_count_by_their_number():
    """Each run adds a constant to every item: the items' part is 0, the runs' is their variance over their number."""
    shifts = np.array([0.0, 0.1, 0.5])
    a, b = np.zeros((3, 20)), np.zeros((3, 20)) + shifts[:, None]
    found = effect(a, b, ONE(20), alone(20), 0.0, same_runs=True)
    assert found.of_items == pytest.approx(0, abs=1e-15)
    assert found.variance == pytest.approx(shifts.var(ddof=1) / 3)
    assert found.freedom == pytest.approx(2)


def test_what_runs_and_items_share_is_counted_once():
    """Pure noise in every cell, nothing of runs or items themselves: the truth is the variance over all cells."""
    rng = np.random.default_rng(3)
    found = [effect(*rng.standard_normal((2, 8, 60)), ONE(60), alone(60), 0.0, same_runs=True) for _ in range(400)]
    truth = 2 / (8 * 60)
    assert np.mean([one.of_items + one.of_runs - one.shared for one in found]) == pytest.approx(truth, rel=0.06)
    assert np.mean([one.of_items + one.of_runs for one in found]) == pytest.approx(2 * truth, rel=0.06)


def test_ten_equal_answers_prove_nothing():
    found = effect(ONE((1, 10)), ONE((1, 10)), ONE(10), alone(10), 1.0)
    assert found.low == pytest.approx(-found.high)
    assert 0.1 < found.high < 0.3  # of ten items, one in ten could differ unseen


def test_one_family_says_nothing_about_others():
    assert np.isinf(effect(np.zeros((1, 5)), ONE((1, 5)), ONE(5), np.zeros(5, int), 1.0).stderr)


def test_an_answer_that_was_not_given_is_left_out_of_its_item():
    a = np.array([[0.0, 1.0, 0.0], [0.0, 1.0, np.nan]])
    assert effect(a, a + 1, ONE(3), alone(3), 0.0).value == pytest.approx(1)


def binary(rng, n, shift):
    common = rng.standard_normal(n)
    return [(common + 0.7 * rng.standard_normal((1, n)) + move > 0).astype(float) for move in (0.0, shift)]


@pytest.mark.parametrize(("n", "shift"), [(15, 0.0), (15, 0.5), (60, 0.3)])
def test_nine_intervals_in_ten_hold_for_right_and_wrong(n, shift):
    rng = np.random.default_rng(4)
    truth = stats.norm.cdf(shift / np.sqrt(1.49)) - 0.5
    found = [effect(a, b, ONE(n), alone(n), 1.0) for a, b in (binary(rng, n, shift) for _ in range(1200))]
    assert 0.87 < np.mean([one.low <= truth <= one.high for one in found]) < 0.985


def test_the_step_is_what_makes_them_hold():
    """The negative control: without it, rare differences of few items are taken for none."""
    rng = np.random.default_rng(5)
    pairs = [(np.ones((1, 10)), (rng.random((1, 10)) > 0.05).astype(float)) for _ in range(1200)]
    covered = {
        step: np.mean([(e := effect(a, b, ONE(10), alone(10), step)).low <= -0.05 <= e.high for a, b in pairs]) for step in (0.0, 1.0)
    }
    assert covered[0.0] < 0.6
    assert covered[1.0] > 0.85


def test_the_detectable_difference_is_detected():
    rng = np.random.default_rng(6)
    n, spread = 50, 0.4
    size = detectable(spread / np.sqrt(n), n - 1)
    draws = size + spread * rng.standard_normal((2000, 1, n))
    found = np.mean([effect(np.zeros((1, n)), one, ONE(n), alone(n), 0.0).low > 0 for one in draws])
    assert found == pytest.approx(0.8, abs=0.03)


def test_more_items_are_as_many_as_it_takes():
    rng = np.random.default_rng(7)
    found = effect(np.zeros((1, 40)), 0.1 + rng.standard_normal((1, 40)), ONE(40), alone(40), 0.0)
    more = more_items(found, margin=0.0)
    assert more is not None
    for items, enough in ((found.n + more, True), (found.n + more - 1, False)):
        then = grown(found, items / found.n, 1.0)
        assert (detectable(then.stderr, then.freedom) <= abs(found.value)) == enough


def test_no_number_of_items_mends_runs_that_differ():
    shifts = np.array([-0.5, 0.6])
    found = effect(np.zeros((2, 30)), np.zeros((2, 30)) + shifts[:, None], ONE(30), alone(30), 0.0, same_runs=True)
    assert more_items(found, margin=0.01) is None
