from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pliant.report.charts import Axes, Line, line_chart, round_numbers, spread
from pliant.report.parts import Spark
from pliant.report.terminal import bar_heights


@given(st.lists(st.floats(0, 10), min_size=1, max_size=6))
def test_labels_are_moved_apart_and_keep_their_order(places):
    moved = spread(places, 1.0, 10.0)
    order = np.argsort(places, kind="stable")
    apart = np.diff(np.array(moved)[order])
    assert (apart >= 1 - 0.05).all()
    assert max(moved) <= 10 + 1e-9
    assert sorted(moved) == [moved[i] for i in order]


def test_labels_that_have_room_stay_where_they_are():
    assert spread([3.0, 1.0, 5.0], 1.0, 10.0) == [3.0, 1.0, 5.0]


@given(st.floats(1e-6, 1e3), st.floats(1.5, 1e6))
def test_marks_of_a_logarithmic_axis_are_round_and_inside(low, ratio):
    marks = round_numbers(low, low * ratio)
    assert all(low <= mark <= low * ratio for mark in marks)
    assert all(f"{mark:.0e}"[0] in "1235" for mark in marks)
    assert len(marks) <= 8
    if ratio >= 10:
        assert marks


def test_a_turning_curve_is_ringed_and_others_are_not():
    points = [{"x": x, "y": y, "low": y - 0.1, "high": y + 0.1, "tip": {"after": str(x)}} for x, y in ((1, 3.0), (2, 2.0), (4, 3.0))]
    spec = line_chart([Line("turns", points, best=2, between=(1, 2)), Line("falls", points)], Axes("x", "y"))
    rings = [layer for layer in spec["layer"] if layer["mark"] == {"type": "point", "filled": False, "size": 150, "strokeWidth": 2}]
    assert [row["name"] for ring in rings for row in ring["data"]["values"]] == ["turns"]
    assert rings[0]["data"]["values"][0] == {"name": "turns", "x": 2, "y": 2.0, "from": 1, "to": 2}


def test_colours_tell_as_many_curves_apart_as_there_are():
    points = [{"x": 1, "y": 1.0, "low": 1.0, "high": 1.0, "tip": {}}, {"x": 2, "y": 2.0, "low": 2.0, "high": 2.0, "tip": {}}]
    for count in range(1, 7):
        lines = [Line("base", points, look="muted"), *(Line(f"line {number}", points) for number in range(count))]
        colours = line_chart(lines, Axes("x", "y"))["layer"][0]["encoding"]["color"]["scale"]["range"]
        assert len(set(colours)) == count + 1


def test_small_curves():
    assert bar_heights([3.0, 2.0, 1.0, 2.0]) == "█▅▁▅"
    assert bar_heights([1.0, 1.0]) == "▁▁"
    points = Spark([3.0, 1.0, 2.0], 1).points(width=20, height=10, margin=2)
    assert points == [(2.0, 2.0), (10.0, 8.0), (18.0, 5.0)]
    assert Spark([1.0], 0).points() == [(3.0, 19.0)]
