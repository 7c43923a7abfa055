from __future__ import annotations

import numpy as np
import pytest

from pliant.laws.forms.accuracy import LAW

CONSTANTS = {"chance": 0.25, "ceiling": 0.95, "slope": 4.0, "middle": 2.5}


def test_plateaus_and_middle() -> None:
    values = LAW({"L": np.array([-50.0, 2.5, 50.0])}, CONSTANTS)
    np.testing.assert_allclose(values, [0.95, 0.6, 0.25], atol=1e-12)


def test_steepest_slope_by_hand() -> None:
    near = LAW({"L": np.array([2.5 - 1e-5, 2.5 + 1e-5])}, CONSTANTS)
    assert (near[1] - near[0]) / 2e-5 == pytest.approx(-0.7 * 4 / 4, rel=1e-6)
