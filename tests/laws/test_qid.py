from __future__ import annotations

import numpy as np
import pytest

from pliant.laws.forms import ptq
from pliant.laws.forms.qid import LAW


def test_formula_by_hand() -> None:
    # .5 * (1e10)^.5 / ((1e8)^.25 * 2^3) = .5 * 1e5 / (100 * 8)
    rise = LAW({"N": 1e8, "D": 1e10, "Ppost": 2.0}, {"k": 0.5, "beta": 0.5, "alpha": 0.25, "gamma": 3.0})
    assert rise == pytest.approx(62.5, rel=1e-12)


def test_it_differs_from_ptq_in_what_one_more_bit_saves() -> None:
    """Exponential: every bit saves the same factor. Power: the next bit saves less."""
    table = {"N": 30e6, "D": 26e9, "Ppost": np.array([3.0, 4.0, 5.0, 6.0])}
    exponential = ptq.LAW(table, ptq.LAW.printed["2411.04330, without"])
    power = LAW(table, {"k": 0.5, "beta": 0.5, "alpha": 0.25, "gamma": 5.0})
    np.testing.assert_allclose(np.diff(np.log(exponential)), -1 / 0.5907, rtol=1e-9)
    assert (np.diff(np.diff(np.log(power))) > 0).all()
