from itertools import pairwise
from math import cos, pi

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pliant.train.schedules import SCHEDULES


def learning_rate(step, steps, peak, shape="cosine", warmup=0, decay=0.2, final=0.0):
    return SCHEDULES.parse(shape).rate(step, steps, peak, warmup, decay, final)


def rates(steps, **settings):
    return [learning_rate(step, steps, 1.0, **settings) for step in range(steps + 1)]


def test_cosine_by_hand():
    # warm-up over 2 steps, then half a cosine over the other 4
    expected = [0.5, 1.0, 1.0, (1 + cos(pi / 4)) / 2, 0.5, (1 + cos(3 * pi / 4)) / 2, 0.0]
    assert rates(6, shape="cosine", warmup=2) == pytest.approx(expected, abs=1e-15)


def test_cosine_to_a_tenth():
    assert rates(2, shape="cosine", final=0.1) == pytest.approx([1.0, 0.55, 0.1])


def test_wsd_by_hand():
    # 10 steps: 2 of warm-up, then flat, then the last 4 fall linearly
    expected = [0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0]
    assert rates(10, shape="wsd", warmup=2, decay=0.4) == pytest.approx(expected)


def test_constant_stays():
    assert rates(5, shape="constant", warmup=2) == [0.5, 1, 1, 1, 1, 1]


settings = {
    "steps": st.integers(1, 400),
    "shape": st.sampled_from(["cosine", "constant", "wsd"]),
    "warmup": st.integers(0, 500),
    "decay": st.floats(0, 1),
    "final": st.floats(0, 1),
}


@given(**settings)
def test_rises_then_never_rises_again(steps, shape, warmup, decay, final):
    found = rates(steps, shape=shape, warmup=warmup, decay=decay, final=final)
    assert all(0 <= rate <= 1 + 1e-12 for rate in found)
    assert min(found[:-1]) > 0, "no step is lost at rate zero"
    top = min(warmup, steps)
    assert all(a < b for a, b in pairwise(found[:top]))
    assert all(a >= b - 1e-12 for a, b in pairwise(found[top:]))


@given(**settings)
def test_ends_where_it_should(steps, shape, warmup, decay, final):
    end = learning_rate(steps, steps, 0.01, shape, warmup, decay, final)
    if warmup > steps:
        assert end == pytest.approx(0.01 * (steps + 1) / warmup)
    else:
        assert end == pytest.approx(0.01 if shape == "constant" else 0.01 * final)


def test_steps_by_hand():
    form = {"steps": {"at": [0.5, 0.75], "factor": 0.1}}
    assert rates(8, shape=form) == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01, 0.01])
    assert rates(2, shape=form, final=0.5) == pytest.approx([1, 0.5 + 0.5 * 0.1, 0.5 + 0.5 * 0.01])


def test_a_triangle_rises_to_its_peak_and_ends_at_the_final_rate():
    found = rates(10, shape={"triangle": {"peak": 0.2}})
    assert found == pytest.approx([0.5, 1, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0])
    assert rates(10, shape="triangle", final=0.1)[-1] == pytest.approx(0.1)


def test_one_over_the_square_root():
    assert rates(16, shape="inverse_sqrt", warmup=4)[3:] == pytest.approx([1, *((4 / step) ** 0.5 for step in range(4, 17))])
    short, long = rates(5, shape="inverse_sqrt", warmup=2), rates(50, shape="inverse_sqrt", warmup=2)
    assert short == long[:6]
