"""What the samples of a series count with."""

from __future__ import annotations

import numpy as np
import pytest

from pliant.changes import CHANGES
from pliant.decide.curves.series import Point, Series
from pliant.statistics import clustered_error

DOCUMENTS = [f"document {number}" for number in range(12)]
WEIGHTS = np.arange(1.0, 13)


def series(change: dict, seeds: int) -> Series:
    """Two checkpoints, two readings of twelve documents; readings of one seed are equal, so only samples differ."""
    generator = np.random.default_rng(0)
    points = [
        Point(tokens, np.repeat(generator.normal(size=(1, 1, 12)), 2, axis=1).repeat(seeds, axis=0), generator.normal(size=(seeds, 12)), 1)
        for tokens in (1000, 2000)
    ]
    parsed, documents = CHANGES.parse(change), np.arange(12)
    tied = parsed.ties(DOCUMENTS)
    clusters = (documents, documents if tied is None else tied)
    return Series({}, parsed, "generic", "{}", "loss", "nats/token", False, WEIGHTS, *clusters, tuple(points))


def test_shares_of_split_draws_are_the_clusters_of_a_single_seed() -> None:
    split = {"kind": "perturb", "scale": 0.1, "draws": 6, "split": True}
    found = series(split, seeds=1)
    shares = np.repeat([0, 1, 2], 4)
    for curve, values in (
        (found.curve(), [point.values[0, 0] for point in found.points]),
        (found.rises(), [point.values[0, 0] - point.base[0] for point in found.points]),
    ):
        assert curve.stderr() == pytest.approx([clustered_error(one, WEIGHTS, shares) for one in values])
        difference = curve.covariance() @ [-1, 1] @ [-1, 1]
        assert difference == pytest.approx(clustered_error(values[1] - values[0], WEIGHTS, shares) ** 2)  # common noise is paired
        assert curve.noise[0].freedom == 2


def test_where_seeds_show_how_draws_differ_documents_count() -> None:
    several, whole = (
        series({"kind": "perturb", "scale": 0.1, "draws": 6, "split": True}, seeds=2),
        series({"kind": "perturb", "scale": 0.1, "draws": 6}, seeds=1),
    )
    assert several.curve().noise[0].freedom == whole.curve().noise[0].freedom == 11
