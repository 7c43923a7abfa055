"""The fourth verdict: a curve that improved and is shown to be flat since."""

from __future__ import annotations

import numpy as np
import pytest

from pliant.decide import Curve, inflection
from pliant.decide.curves.plateau import LEVEL, flat_from

TOKENS = 2.0 ** np.arange(9)
LEARNT = np.array([1.0, 0.6, 0.3, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0])


def found(values, spread, generator):
    runs = values + generator.normal(0, spread, (3, len(values)))
    return inflection(Curve.from_table(TOKENS[: len(values)], runs.mean(axis=0), runs.std(axis=0, ddof=1) / 3**0.5, runs=3))


def test_a_plateau_begins_where_every_later_difference_lies_within_the_margin():
    far, reach = np.array([True, True, True, True, True, False]), np.full(5, 0.01)
    difference = -np.array([1.0, 0.5, 0.05, 0.085, -0.03])  # of the last checkpoint to the earlier ones
    assert flat_from(far, difference, reach) == 2  # .085 + .01 is still under a tenth of the gain
    assert flat_from(far, difference, reach + 0.006) is None  # one of them is not: too short a rest of it is left
    assert flat_from(far, -difference, reach) is None  # it never improved
    assert flat_from(far & (np.arange(6) < 2), difference, reach) is None  # flat over less than a doubling


def test_units_and_direction_do_not_matter():
    for scale, better in ((1.0, False), (-100.0, True)):
        one = inflection(Curve.from_table(TOKENS, scale * LEARNT, abs(scale) * 0.01, runs=3, higher_is_better=better))
        assert (one.verdict, one.flat_from) == ("plateau", 16)


def test_curves_that_go_flat_are_called_so_and_where():
    generator = np.random.default_rng(0)
    answers = [found(LEARNT, 0.02, generator) for _ in range(100)]
    flat = [one.flat_from for one in answers if one.verdict == "plateau"]
    assert len(flat) >= 70  # a pilot of 400 gave 79; the others are `degrades` (under 5) and `undetermined`
    assert min(flat) >= 8  # 0.1 above the rest is no part of it, or hardly ever


def test_a_curve_that_moves_on_by_more_than_the_margin_is_not_called_flat():
    """The negative control: what comes last is better by 12% of the whole gain, in steps that noise hides."""
    generator = np.random.default_rng(1)
    moving = np.array([1.0, 0.6, 0.3, LEVEL * 1.2, LEVEL * 1.2, LEVEL * 1.2, 0.0, 0.0, 0.0])
    answers = [found(moving, 0.03, generator) for _ in range(200)]
    wrong = np.mean([one.verdict == "plateau" and one.flat_from < TOKENS[6] for one in answers])
    assert wrong <= 0.08  # nominal 0.05
    noisy = [found(LEARNT, 0.3, generator) for _ in range(100)]
    assert sum(one.verdict == "plateau" for one in noisy) <= 2  # not seeing a difference is not a plateau


@pytest.mark.parametrize("values", [[2.0, 2.0, 2.0, 2.0, 2.0], [2.0, 1.0], [1.0, 2.0, 3.0, 4.0, 5.0]])
def test_what_did_not_improve_is_no_plateau(values):
    answer = inflection(Curve.from_table(TOKENS[: len(values)], values, 0.0, runs=3))
    assert answer.verdict != "plateau"
    assert answer.flat_from is None
