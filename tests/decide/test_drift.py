"""How gaps move with scale, and the probabilities that follow: identities, then simulated groups with known drift."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

from pliant.decide.groups.chances import best, quantiles
from pliant.decide.groups.drift import LEARNED, covariances, deviations, outlook

POSITION = np.log(1e17 * 2.0 ** np.arange(6))


def losses(gaps, position=POSITION, groups=2):
    """Log losses of groups whose gap to the first is `gaps` (groups - 1, cells)."""
    shared = np.log(2 + (np.exp(position) / 1e17) ** -0.2)
    return shared + np.concatenate([np.zeros((1, len(position))), np.atleast_2d(gaps)])


def chance(values, step, position=POSITION):
    found = outlook(values, position, np.array([position[-1] + step]))
    return best(found.mean[:, :, 0], found.spread(), found.weight)[0]


def test_what_all_groups_share_makes_no_difference():
    gaps = np.array([0.02, 0.02, 0.03, 0.02, 0.03, 0.025])
    for moved in (losses(gaps) + 5, losses(gaps) + np.linspace(0, 3, 6)):
        assert chance(moved, 1.0) == pytest.approx(chance(losses(gaps), 1.0), abs=1e-9)


def test_groups_may_stand_in_any_order_and_their_chances_sum_to_one():
    values = losses(np.array([[0.02] * 6, [0.01, 0.012, 0.008, 0.01, 0.011, 0.009]]))
    straight, turned = chance(values, 2.0), chance(values[::-1], 2.0)
    assert straight == pytest.approx(turned[::-1], abs=1e-9)
    assert straight.sum() == pytest.approx(1)


def test_a_group_that_misses_a_scale_is_compared_where_it_was_measured():
    values = losses(np.full(6, 0.02))
    values[1, -1] = np.nan
    own = deviations(values)
    assert own[1, 4] - own[0, 4] == pytest.approx(0.02)
    full = losses(np.full(6, 0.02))
    assert 0.5 < chance(values, 1.0)[0] < chance(full, 1.0)[0]  # less is known of it


def test_chances_fall_with_distance_and_rise_with_the_gap():
    far = [chance(losses(np.full(6, 0.01)), step)[0] for step in (0.0, 0.7, 2.0, 4.0, 8.0)]
    assert far == sorted(far, reverse=True)
    assert far[-1] > 0.5
    wide = [chance(losses(np.full(6, gap)), 2.0)[0] for gap in (0.0, 0.002, 0.01, 0.05)]
    assert wide == sorted(wide)
    assert wide[0] == pytest.approx(0.5, abs=1e-6)


def test_a_gap_that_closes_is_less_sure_than_one_that_opens():
    closing, opening = np.linspace(0.06, 0.01, 6), np.linspace(-0.02, 0.01, 6)
    assert chance(losses(closing), 2.0)[0] < 0.5 < chance(losses(opening), 2.0)[0]
    assert chance(losses(opening), 2.0)[0] < chance(losses(np.full(6, 0.01)), 2.0)[0]  # surest is a gap that never moved


def test_an_integrated_slope_has_its_textbook_variance():
    """Of an Ornstein-Uhlenbeck slope of variance 1 and memory 1/k, from 0 to t: 2 (kt - 1 + exp(-kt)) / k^2."""
    moved = covariances(np.array([-1.0, 0.0]), np.array([0.5, 2.0]), LEARNED)
    for memory, matrix in zip(LEARNED.memories, moved, strict=True):
        for place, step in ((0, 1.0), (2, 0.5), (3, 2.0)):
            assert matrix[place, place] == pytest.approx(2 * (memory * step - 1 + np.exp(-memory * step)) / memory**2, rel=2e-3)
        assert matrix[1] == pytest.approx(np.zeros(4))
        assert matrix[0, 3] < 0 < matrix[2, 3]  # what lies behind went the other way


def test_the_best_of_two_is_the_normal_probability():
    mean, sd, weight = np.array([[0.0, 0.3]]), np.array([[0.2, 0.4]]), np.ones(1)
    found, excess = best(mean, sd, weight)
    spread = np.hypot(0.2, 0.4)
    assert found[0] == pytest.approx(ndtr(0.3 / spread), abs=2e-3)
    density = np.exp(-((0.3 / spread) ** 2) / 2) / np.sqrt(2 * np.pi)
    assert excess[0] == pytest.approx(spread * density - 0.3 * (1 - found[0]), abs=2e-3)  # E max(0, -gap)


def test_the_best_of_many_agrees_with_drawing_them():
    generator = np.random.default_rng(0)
    mean, sd, weight = generator.normal(0, 1, (2, 9)), generator.uniform(0.2, 1, (2, 9)), np.array([0.3, 0.7])
    drawn = np.concatenate([generator.normal(mean[place], sd[place], (count, 9)) for place, count in enumerate((30_000, 70_000))])
    shares = np.bincount(drawn.argmin(axis=1), minlength=9) / len(drawn)
    assert best(mean, sd, weight)[0] == pytest.approx(shares, abs=0.008)
    low, _, high = quantiles(mean, sd, weight)
    assert np.quantile(drawn, 0.05, axis=0) == pytest.approx(low, abs=0.06)
    assert np.quantile(drawn, 0.95, axis=0) == pytest.approx(high, abs=0.06)


@pytest.mark.parametrize("groups", [2, 6])
def test_simulated_drift_is_called_as_sure_as_it_is(groups):
    """Deviations drawn from the process itself, at settings drawn from its prior: what is said must be what comes true."""
    generator = np.random.default_rng(groups)
    targets, said, right = POSITION[-1] + np.array([0.7, 2.0]), list[float](), list[bool]()
    moved = covariances(POSITION, targets, LEARNED)
    for _ in range(250):
        noise = LEARNED.noise * np.exp(LEARNED.noise_sd * generator.normal())
        spread = 0.02
        slope = np.hypot(LEARNED.slope, LEARNED.share * spread) * np.exp(LEARNED.slope_sd * np.clip(generator.normal(), -2, 2))
        path = generator.multivariate_normal(np.zeros(8), moved[generator.integers(2)] * slope**2 + 1e-14 * np.eye(8), groups)
        whole = path + generator.normal(0, spread, (groups, 1)) + generator.normal(0, noise, (groups, 8))
        found = outlook(whole[:, :6], POSITION, targets)
        for target in range(2):
            chances = best(found.mean[:, :, target], found.spread(target), found.weight)[0]
            said.append(float(chances.max()))
            right.append(int(chances.argmax()) == int(whole[:, 6 + target].argmin()))
    assert np.mean(said) == pytest.approx(np.mean(right), abs=0.06)
    sure = np.array(said) > 0.85
    assert np.mean(np.array(right)[sure]) >= 0.85
