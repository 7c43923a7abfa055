"""Readings of two arms compared: what was published with the findings stays, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest

from pliant.findings.arms import Readings
from pliant.statistics import crossed_error, weighted_mean


@pytest.mark.parametrize("seeds", [1, 3])
def test_above_is_the_paired_mean_with_a_normal_interval_over_seeds_and_documents(seeds: int) -> None:
    generator = np.random.default_rng(0)
    documents, weights = [f"d{number // 3}" for number in range(30)], generator.integers(1, 60, 30).astype(float)
    one, other = (generator.normal(2, 0.5, (seeds, 4, 30)) for _ in range(2))
    found = Readings(one, weights, documents).above(Readings(other, weights, documents))
    difference = (one - other).mean(axis=1)
    value, reach = weighted_mean(difference.mean(axis=0), weights), 1.645 * crossed_error(difference, weights, documents)
    assert found == (value, value - reach, value + reach)
