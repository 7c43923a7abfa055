from __future__ import annotations

import pytest

from pliant.laws.forms import utility
from pliant.laws.forms.utility_compat import LAW

EPOCH = 12.8e6


@pytest.mark.parametrize(("b", "tau", "expected"), [(-0.2, 4.0, 0.6829), (-0.15, 6.0, 0.7315), (-0.1, 10.0, 0.8019)])
def test_golden_values_of_the_released_code(b: float, tau: float, expected: float) -> None:
    constants = {"a": 0.022, "b": b, "tau": tau, "d": 0.1}
    assert LAW({"n": 640e6, "S": EPOCH}, constants) == pytest.approx(expected, abs=5e-5)


def test_within_the_first_epoch_it_is_the_paper_s_form() -> None:
    constants, columns = {"a": 0.022, "b": -0.2, "tau": 4.0, "d": 0.1}, {"n": 0.7 * EPOCH, "S": EPOCH}
    assert LAW(columns, constants) == pytest.approx(float(utility.LAW(columns, constants)), rel=1e-12)
