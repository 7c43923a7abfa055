"""Readings and paired differences against plain arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from pliant.errors import PliantError
from pliant.measures import Reading

rng = np.random.default_rng(0)
IDS = [f"{document:02d}:{offset}" for document in range(20) for offset in (0, 64, 128)]
WEIGHTS = rng.integers(1, 65, len(IDS)).astype(float)
BEFORE = rng.normal(2, 0.5, len(IDS))
AFTER = BEFORE + rng.normal(0.1, 0.05, len(IDS))


def reading(values: np.ndarray, ids: list[str] = IDS, metric: str = "loss", unit: str = "nats/token") -> Reading:
    return Reading(metric, unit, ids, values, WEIGHTS[: len(ids)], data="text")


def test_the_mean_weighs_tokens_and_the_error_counts_documents() -> None:
    found = reading(BEFORE).estimate()
    assert found.value == pytest.approx(sum(WEIGHTS * BEFORE) / sum(WEIGHTS))
    residual = (WEIGHTS * (BEFORE - found.value)).reshape(20, 3).sum(1)
    assert found.stderr == pytest.approx(np.sqrt(20 / 19 * sum(residual**2)) / sum(WEIGHTS))
    assert found.n == 60


def test_a_difference_is_paired() -> None:
    found = (reading(AFTER) - reading(BEFORE)).estimate()
    assert found.value == pytest.approx(reading(AFTER).estimate().value - reading(BEFORE).estimate().value)
    assert found.stderr < reading(AFTER).estimate().stderr / 4
    assert found.low < 0.1 < found.high


def test_a_reading_minus_itself_is_nothing() -> None:
    found = (reading(BEFORE) - reading(BEFORE)).estimate()
    assert (found.value, found.stderr) == (0, 0)


def test_perplexities_and_their_difference() -> None:
    before, after = reading(BEFORE), reading(AFTER)
    assert before.perplexity().value == pytest.approx(np.exp(before.estimate().value))
    found = (after - before).perplexity()
    assert found.value == pytest.approx(after.perplexity().value - before.perplexity().value)
    assert found.low < found.value < found.high


def test_the_perplexity_interval_matches_a_bootstrap_over_documents() -> None:
    """The delta method's error within 10% of 4,000 resamples' (whose own error is 1%)."""
    found = (reading(AFTER) - reading(BEFORE)).perplexity().stderr
    sums = [(WEIGHTS * values).reshape(20, 3).sum(1) for values in (AFTER, BEFORE)]
    tokens = WEIGHTS.reshape(20, 3).sum(1)
    draws = np.random.default_rng(1).integers(0, 20, (4000, 20))
    after, before = (np.exp(total[draws].sum(1) / tokens[draws].sum(1)) for total in sums)
    assert found == pytest.approx(np.std(after - before), rel=0.1)


def test_readings_and_differences_print_their_mean_in_a_line() -> None:
    before = Reading("loss", "nats/token", ["a:0", "b:0"], np.array([1.0, 2.0]), np.ones(2))
    after = Reading("loss", "nats/token", ["a:0", "b:0"], np.array([0.5, 2.0]), np.ones(2))
    assert repr(before) == "Reading(loss=1.5000 nats/token, stderr=0.5, n=2)"  # two documents: half their distance
    assert str(after - before) == "Difference(loss=-0.2500 nats/token, stderr=0.25, n=2)"
    one = Reading("loss", "nats/token", ["a:0", "a:64"], np.array([1.0, 2.0]), np.ones(2))
    assert repr(Reading("loss", "nats/token", ["a:0"], np.array([-1e-6]), np.ones(1))) == "Reading(loss=0.0000 nats/token, n=1)"
    assert repr(one) == "Reading(loss=1.5000 nats/token, n=2)"


def test_only_a_reading_is_subtracted_from_a_reading() -> None:
    with pytest.raises(TypeError, match=r"only a reading of the same samples .* not int; .* \.estimate\(\)\.value"):
        reading(BEFORE) - 1


def test_unlike_readings_do_not_pair() -> None:
    before = reading(BEFORE)
    with pytest.raises(PliantError, match="different samples"):
        reading(AFTER, IDS[::-1]) - before
    with pytest.raises(PliantError, match="different samples"):
        reading(AFTER[:50], IDS[:50]) - before
    with pytest.raises(PliantError, match="cannot subtract loss"):
        reading(AFTER, metric="accuracy", unit="share") - before
    with pytest.raises(PliantError, match="other text"):
        Reading("loss", "nats/token", IDS, AFTER, WEIGHTS, data="another") - before
    with pytest.raises(PliantError, match="nats"):
        reading(AFTER, metric="accuracy", unit="share").perplexity()
    with pytest.raises(ValueError, match="60 samples"):
        Reading("loss", "nats/token", IDS, AFTER[:5], WEIGHTS)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused_by_sample(bad: float) -> None:
    with pytest.raises(PliantError, match=r"loss: the value of sample b is .*, not a finite number"):
        Reading("loss", "nats/token", ["a", "b"], np.array([1.0, bad]), np.ones(2))
    with pytest.raises(PliantError, match="loss: the weight of sample a is"):
        Reading("loss", "nats/token", ["a", "b"], np.ones(2), np.array([bad, 1.0]))
