"""Bands are as wide as what is known about their error."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from pliant.report.bands import BELOW, reach, told
from pliant.report.results import gather
from pliant.report.sections.curves import curve_points, sensitivity
from synthetic_ledger import synthetic_ledger

TANGENT = math.tan(0.45 * math.pi)
"""Student's t of one degree of freedom at 90%."""


@pytest.fixture(scope="module")
def two_seeds(tmp_path_factory):
    return gather(synthetic_ledger(tmp_path_factory.mktemp("ledger"), seeds=(0, 1), samples=16, noise=0.1))


def test_two_seeds_are_one_degree_of_freedom(two_seeds):
    for found in two_seeds.ladders[0].decisions:
        for point in found.evidence.curve:
            assert reach(found, point, "paired_stderr") == pytest.approx(TANGENT * point.paired_stderr)


def test_one_seed_counts_its_draws_or_its_documents(tmp_path):
    (ladder,) = gather(synthetic_ledger(tmp_path, seeds=(0,), samples=8)).ladders
    expected = {"perturb": TANGENT, "quantize": 2.353363}  # two mirrored pairs of draws; four documents: t(0.95; 3) of the tables
    for found in ladder.decisions:
        if found.change.kind in expected and not found.tuned:
            point = found.evidence.curve[0]
            assert reach(found, point, "delta_stderr") == pytest.approx(expected[found.change.kind] * point.delta_stderr, rel=1e-6)


def test_roughness_is_known_no_better_than_from_the_points_it_was_read_off(two_seeds):
    found = two_seeds.ladders[0].decisions[0]
    points = [replace(point, seeds=1, fit=float(place)) for place, point in enumerate(found.evidence.curve)]
    alone = replace(found, evidence=replace(found.evidence, curve=points, roughness=0.1, draws=1, documents=100))
    two = 0.9 * math.sqrt(2 / (1 - 0.9**2))
    assert reach(alone, points[0], "paired_stderr") == pytest.approx(two * points[0].paired_stderr)


def test_a_band_that_reaches_below_zero_says_so_and_stays_in_a_logarithmic_picture(two_seeds):
    rows = [row for figure in sensitivity(two_seeds).parts[0].figures for row in figure.spec["data"]["values"]]
    below = [row for row in rows if BELOW in row["tip1"]]
    assert below
    assert len(below) < len(rows)
    for row in rows:
        half = float(row["tip1"].split(" ± ")[1].split(";")[0])
        assert row["low"] > 0
        assert (row["y"] - half < 1e-4) == (row in below)
        assert row["low"] == pytest.approx(row["y"] - half, abs=1e-4) or row["low"] > row["y"] - half
        assert row["high"] == pytest.approx(row["y"] + half, abs=1e-4)


def test_nothing_is_minus_zero(two_seeds):
    assert told(-0.00001, 0.0) == f"+0.0000 ± 0.0000; {BELOW}"
    found = next(found for found in two_seeds.ladders[0].decisions if found.change.weight_bits)
    level = [replace(point, delta=-0.0001, delta_stderr=0.0) for point in found.evidence.curve]
    points = curve_points(replace(found, evidence=replace(found.evidence, curve=level)))
    assert {point["tip"]["change"] for point in points} == {"+0.000 ± 0.000"}
