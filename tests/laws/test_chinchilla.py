from __future__ import annotations

import pytest

from pliant.laws.forms.chinchilla import LAW


def test_formula_by_hand() -> None:
    # 400 / 1e4**.5 = 4, 900 / 1e6**.5 = .9
    loss = LAW({"N": 1e4, "D": 1e6}, {"E": 2.0, "A": 400.0, "B": 900.0, "alpha": 0.5, "beta": 0.5})
    assert loss == pytest.approx(6.9, abs=1e-12)
