from __future__ import annotations

import pytest

from pliant.laws.forms.sensitivity import LAW

CONSTANTS = {"c": 0.5, "p": 0.5, "q": 2.0, "r": 0.25}


def test_formula_by_hand() -> None:
    # .5 * 1e6^.5 * .1^2 / 1e4^.25
    assert LAW({"N": 1e4, "D": 1e6, "strength": 0.1}, CONSTANTS) == pytest.approx(0.5, rel=1e-12)
