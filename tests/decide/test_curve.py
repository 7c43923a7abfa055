from __future__ import annotations

import numpy as np
import pytest

from pliant.decide import Curve
from pliant.errors import PliantError
from pliant.statistics import bootstrap_means, clustered_error


def difference_errors(curve: Curve) -> np.ndarray:
    """Standard errors of the last point minus each earlier one."""
    total, last = curve.covariance(), len(curve.values) - 1
    return np.sqrt(np.maximum(total[last, last] + np.diagonal(total)[:last] - 2 * total[last, :last], 0))


@pytest.fixture
def samples(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """(checkpoints, samples) with a difficulty all checkpoints share, weights, and two windows a document."""
    difficulty = generator.normal(0, 1, 80)
    values = difficulty + generator.normal(0, 0.1, (4, 80)) + np.array([[3.0], [2.5], [2.2], [2.1]])
    return values, generator.integers(20, 60, 80).astype(float), [str(number // 2) for number in range(80)]


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def test_errors_of_points_are_the_clustered_errors_of_their_means(samples):
    values, weights, documents = samples
    curve = Curve.from_samples([1, 2, 4, 8], [row[None, None] for row in values], weights, documents)
    assert curve.values == pytest.approx([np.average(row, weights=weights) for row in values])
    assert curve.stderr() == pytest.approx([clustered_error(row, weights, documents) for row in values])


def test_errors_of_differences_agree_with_an_ordinary_bootstrap_of_documents(samples):
    values, weights, documents = samples
    curve = Curve.from_samples([1, 2, 4, 8], [row[None, None] for row in values], weights, documents)
    resampled = bootstrap_means(values[:, None, None], weights, documents, resamples=4000)
    ordinary = (resampled[:, [-1]] - resampled[:, :-1]).std(axis=0)
    assert difference_errors(curve) == pytest.approx(ordinary, rel=0.1)  # the bootstrap's own error is about 1%, the correction G/(G-1) 1%
    assert difference_errors(curve).max() < 0.05 < curve.stderr().min()  # shared difficulty cancels


def test_what_all_checkpoints_share_changes_no_paired_error(samples, generator):
    values, weights, documents = samples
    shifted = values + generator.normal(0, 5, 80)
    plain, moved = (Curve.from_samples([1, 2, 4, 8], [row[None, None] for row in v], weights, documents) for v in (values, shifted))
    assert difference_errors(moved) == pytest.approx(difference_errors(plain))
    assert moved.paired_stderr() == pytest.approx(plain.paired_stderr())


def test_paired_errors_of_independent_points_are_their_own():
    curve = Curve.from_table([1, 2, 4], [3.0, 2.0, 1.0], 0.1)
    assert curve.paired_stderr() == pytest.approx(curve.stderr())


def test_seeds_give_the_spread_of_their_means_over_the_root_of_their_number(generator):
    seeds = generator.normal(0, 1, (3, 3, 1, 1)) + generator.normal(0, 1e-9, (3, 3, 1, 50))
    curve = Curve.from_samples([1, 2, 4], list(seeds), np.ones(50))
    assert curve.stderr() == pytest.approx(seeds[..., 0, 0].std(axis=1, ddof=1) / 3**0.5, rel=1e-6)
    assert curve.runs == 3


def test_a_checkpoint_that_lost_its_other_seeds_is_given_the_largest_spread(generator):
    whole = generator.normal(0, [[[0.1]], [[1.0]], [[1.0]]], (3, 3, 40))[:, :, None, :]
    curve = Curve.from_samples([1, 2, 4], [whole[0], whole[1], whole[2][:1]], np.ones(40))
    spread = max(whole[j].mean(axis=(1, 2)).std(ddof=1) for j in (0, 1))
    assert curve.noise[-1].covariance[2, 2] == pytest.approx(spread**2)
    assert curve.runs == 1


def test_mirrored_draws_whose_noise_cancels_leave_no_spread(generator):
    noise = generator.normal(0, 1, (2, 2))  # two pairs, two checkpoints
    points = [np.repeat(np.array([n[0], -n[0], n[1], -n[1]])[None, :, None], 30, axis=2) for n in noise]
    curve = Curve.from_samples([1, 2], points, np.ones(30))
    assert [source.source for source in curve.noise] == ["samples", "draws"]
    assert curve.covariance() == pytest.approx(np.zeros((2, 2)))


def test_draws_common_to_all_checkpoints_cancel_from_differences(generator):
    pairs = np.repeat(generator.normal(0, 1, 3), 2)
    points = [np.repeat((pairs + shift)[None, :, None], 30, axis=2) for shift in (0.0, 1.0)]
    curve = Curve.from_samples([1, 2], points, np.ones(30))
    assert curve.stderr() == pytest.approx(np.full(2, pairs[::2].std(ddof=1) / 3**0.5))
    assert difference_errors(curve) == pytest.approx([0], abs=1e-7)


def test_points_are_put_in_the_order_of_tokens():
    curve = Curve.from_table([4, 1, 2], [30.0, 10.0, 20.0], [0.3, 0.1, 0.2])
    assert curve.positions.tolist() == [1, 2, 4]
    assert curve.values.tolist() == [10, 20, 30]
    assert curve.stderr() == pytest.approx([0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("tokens", "values", "stderr", "message"),
    [
        ([1], [1.0], 0.1, "at least two checkpoints"),
        ([1, 2, 2], [1.0, 2.0, 3.0], 0.1, "share one position"),
        ([1, 2], [1.0, float("nan")], 0.1, "not finite"),
        ([1, float("inf")], [1.0, 2.0], 0.1, "not finite"),
        ([1, 2], [1.0, 2.0], -0.1, "standard errors"),
        ([1, 2], [1.0, 2.0], [0.1, float("nan")], "standard errors"),
        ([1, 2], [1.0, 2.0, 3.0], 0.1, "at least two checkpoints"),
    ],
)
def test_a_bad_table_is_refused_with_its_reason(tokens, values, stderr, message):
    with pytest.raises(PliantError, match=message):
        Curve.from_table(tokens, values, stderr)


def test_one_document_is_refused():
    with pytest.raises(PliantError, match="at least two"):
        Curve.from_samples([1, 2], [np.ones((1, 1, 4)), np.ones((1, 1, 4))], np.ones(4), ["a"] * 4)
