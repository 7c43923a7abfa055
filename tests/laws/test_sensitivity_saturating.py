from __future__ import annotations

import numpy as np
import pytest

from pliant.laws.forms import sensitivity
from pliant.laws.forms.sensitivity_saturating import LAW

CONSTANTS = {"c": 0.5, "p": 0.5, "q": 2.0, "r": 0.25}


def test_has_an_early_and_a_late_exponent() -> None:
    def slope(tokens: float) -> float:
        rise = LAW({"D": tokens * np.array([0.99, 1.01])}, {**CONSTANTS, "D_0": 1e7, "s": 1.5})
        return float(np.log(rise[1] / rise[0]) / np.log(1.01 / 0.99))

    assert slope(1e2) == pytest.approx(2.0, abs=1e-3)
    assert slope(1e7) == pytest.approx(0.5 + 0.75, abs=1e-3)
    assert slope(1e12) == pytest.approx(0.5, abs=1e-3)


def test_becomes_the_power_law_late() -> None:
    columns = {"D": 1e12, "strength": 0.1}
    late = LAW(columns, {**CONSTANTS, "D_0": 1e6, "s": 2.0})
    assert late == pytest.approx(float(sensitivity.LAW(columns, CONSTANTS)), rel=1e-9)
