"""Means, errors and intervals against independent derivations."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pliant.statistics import (
    bootstrap_means,
    clustered_error,
    crossed_error,
    estimate,
    minimum_detectable_effect,
    percentile_interval,
    resample_counts,
    student,
    weighted_mean,
)


def test_student_reaches_as_far_as_its_closed_forms():
    """One degree of freedom is Cauchy's law, two have a quantile in roots (both exact); many are normal."""
    assert student(1) == pytest.approx(math.tan(0.45 * math.pi))
    assert student(2) == pytest.approx(0.9 * math.sqrt(2 / (1 - 0.9**2)))
    assert student(1e9, 0.95) == pytest.approx(1.959964, abs=1e-5)


def test_without_clusters_or_weights_the_error_is_the_textbook_one():
    values = np.random.default_rng(0).normal(size=50)
    assert clustered_error(values, np.ones(50)) == pytest.approx(values.std(ddof=1) / np.sqrt(50))


def test_duplicating_samples_within_clusters_does_not_shrink_the_error():
    values = np.random.default_rng(1).normal(size=20)
    once = clustered_error(values, np.ones(20), range(20))
    thrice = clustered_error(np.repeat(values, 3), np.ones(60), list(np.repeat(np.arange(20), 3)))
    assert thrice == pytest.approx(once)


def test_one_cluster_has_no_error():
    assert np.isnan(clustered_error(np.arange(4.0), np.ones(4), [7, 7, 7, 7]))


def test_a_weighted_mean_is_the_mean_over_tokens():
    assert weighted_mean(np.array([1.0, 3.0]), np.array([10.0, 30.0])) == pytest.approx((10 * 1 + 30 * 3) / 40)


def test_intervals_cover():
    generator = np.random.default_rng(2)
    hits = 0
    for _ in range(1000):
        result = estimate(generator.normal(size=12), np.ones(12))
        hits += result.low <= 0 <= result.high
    assert 870 <= hits <= 930  # nominal 900, standard error 9.5


def test_detectable_effect_against_simulation():
    effect = minimum_detectable_effect(1.0, confidence=0.95, power=0.8)
    found = np.random.default_rng(3).normal(effect, 1.0, size=20_000)
    assert np.mean(np.abs(found) > 1.95996) == pytest.approx(0.8, abs=0.01)


@given(st.integers(1, 30), st.integers(0, 100))
def test_resample_rows_sum_to_the_number_of_clusters(groups, seed):
    assert (resample_counts(groups, 5, seed).sum(axis=1) == groups).all()


def test_percentiles():
    assert percentile_interval(np.linspace(0, 1, 101), 0.9) == (pytest.approx(0.05), pytest.approx(0.95))


def test_crossed_errors_reduce_to_the_clustered_one_and_add_the_spread_of_draws():
    values, weights, clusters = np.array([1.0, 2.0, 4.0, 8.0]), np.array([1.0, 2.0, 1.0, 3.0]), ["a", "a", "b", "c"]
    alone = clustered_error(values, weights, clusters)
    assert crossed_error(values[None], weights, clusters) == pytest.approx(alone)
    shifts = np.array([[-0.3], [0.3], [0.6]])  # a draw that moves every sample alike leaves the samples' own spread as it was
    assert crossed_error(values + shifts, weights, clusters) == pytest.approx(math.sqrt(alone**2 + 0.21 / 3))


def test_numbers_and_names_of_clusters_mean_the_same():
    values, weights = np.array([1.0, 2.0, 4.0, 8.0]), np.ones(4)
    assert clustered_error(values, weights, np.array([0, 0, 1, 2])) == clustered_error(values, weights, ["x", "x", "z", "y"])


def test_the_bootstrap_has_the_spread_of_a_sum_of_independent_parts():
    """Variance of a bootstrap mean over k equally likely parts is (k-1)/k of the usual estimate; nested parts add up."""
    generator = np.random.default_rng(0)
    of_seeds, of_documents = generator.normal(size=12), generator.normal(size=40)
    cube = of_seeds[:, None, None] + of_documents[None, None, :]
    means = bootstrap_means(np.stack([cube, cube + 5]), np.ones(40), resamples=20_000, seed=1)
    assert means.shape == (20_000, 2)
    assert np.allclose(means[:, 1] - means[:, 0], 5)  # leading entries share their resamples
    expected = of_seeds.var() / 12 + of_documents.var() / 40
    assert means[:, 0].var() == pytest.approx(expected, rel=0.05)  # the error of a variance from 20,000 resamples is 1%
    assert means[:, 0].mean() == pytest.approx(cube.mean(), abs=4 * math.sqrt(expected / 20_000))


def test_the_bootstrap_draws_whole_documents_by_weight():
    values = np.array([[[1.0, 1.0, 7.0]]])
    means = bootstrap_means(values, np.array([1.0, 2.0, 3.0]), ["a", "a", "b"], resamples=500)
    assert set(np.round(means, 9)) == {1.0, 4.0, 7.0}  # a twice, one of each (both weigh 3), b twice
