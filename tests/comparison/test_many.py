"""Tests of nothing, many tasks, many systems."""

from itertools import product
from math import comb

import numpy as np
import pytest
from scipy import stats

from pliant.comparison.many import false_discovery, rank_intervals, shrunken
from pliant.comparison.significance import mcnemar, sign_flips


@pytest.mark.parametrize(("won", "lost"), [(1, 0), (3, 1), (10, 2), (7, 7), (0, 9)])
def test_mcnemar_is_the_binomial_with_ties_halved(won, lost):
    many, few = won + lost, min(won, lost)
    below, at = (sum(comb(many, k) for k in range(few)) / 2**many, comb(many, few) / 2**many)
    assert mcnemar(won, lost) == pytest.approx(1.0 if won == lost else 2 * below + at)


def test_sign_flips_are_all_signs():
    sums = np.array([0.3, -0.1, 0.25, 0.4, -0.05])
    totals = [abs(sum(sign * value for sign, value in zip(signs, sums, strict=True))) for signs in product((1, -1), repeat=5)]
    seen = abs(sums.sum())
    expected = np.mean([total > seen + 1e-9 for total in totals]) + np.mean([abs(total - seen) < 1e-9 for total in totals]) / 2
    assert sign_flips(sums) == pytest.approx(expected)


def test_sign_flips_of_equal_steps_are_mcnemar():
    assert sign_flips(np.array([1.0, 1, 1, -1, 1, 1])) == pytest.approx(mcnemar(5, 1))


def test_discoveries_are_benjamini_and_hochbergs():
    p = [0.01, 0.5, 0.03, 0.04, 0.9, 0.03]
    assert false_discovery(p) == pytest.approx(stats.false_discovery_control(p).tolist())
    assert false_discovery([0.2]) == [0.2]


def test_differences_that_chance_explains_are_drawn_to_their_mean():
    values, errors = np.array([0.1, -0.1, 0.05, -0.05]), np.full(4, 0.2)
    drawn, spread, between = shrunken(values, errors)
    assert between == 0
    assert drawn == pytest.approx(np.full(4, values.mean()))
    assert spread == pytest.approx(np.full(4, 0.1))


def test_differences_beyond_chance_stay():
    values, errors = np.array([1.0, -1, 2, -2]), np.full(4, 1e-3)
    assert shrunken(values, errors)[0] == pytest.approx(values, abs=1e-4)


def test_two_tasks_tell_nothing_of_a_spread():
    values = np.array([1.0, 2.0])
    assert shrunken(values, np.ones(2))[0] is values


def test_alike_systems_share_all_ranks_and_others_have_their_own():
    covariance = np.eye(4) * 1e-4
    assert rank_intervals(np.array([0.5, 0.5, 0.501, 0.9]), covariance, higher=True) == [(2, 4), (2, 4), (2, 4), (1, 1)]
    assert rank_intervals(np.array([0.1, 0.5]), np.eye(2) * 1e-6, higher=False) == [(1, 1), (2, 2)]


def test_all_true_ranks_are_within_nine_times_in_ten():
    rng = np.random.default_rng(0)
    means, errors = np.array([0.0, 0.1, 0.3, 0.6]), 0.08
    true = np.array([4, 3, 2, 1])
    hits = [
        all(
            low <= rank <= high
            for rank, (low, high) in zip(
                true, rank_intervals(means + errors * rng.standard_normal(4), np.eye(4) * errors**2, True), strict=True
            )
        )
        for _ in range(300)
    ]
    assert np.mean(hits) > 0.86


def test_twenty_systems_that_are_alike_are_seldom_told_apart():
    """Ten in a hundred of such comparisons may raise any alarm; uncorrected, most would."""
    from pliant.comparison import Outcomes, System, compared

    rng = np.random.default_rng(3)

    def alarm():
        hard = rng.standard_normal(80)
        right = hard + rng.standard_normal((20, 80)) > 0
        items = [str(n) for n in range(80)]
        systems = [System(f"s{k}", f"s{k}", {("t", "acc"): Outcomes("t", "acc", items, row.astype(float))}) for k, row in enumerate(right)]
        return any(row.verdict in ("better", "worse") for row in compared(systems).rows)

    assert np.mean([alarm() for _ in range(40)]) <= 0.2
