"""Golden values recomputed from the printed constants of arXiv 2411.04330."""

from __future__ import annotations

import numpy as np

from pliant.laws.forms.ptq import LAW

BITS = np.array([3.0, 4.0, 5.0, 6.0])
TABLE = {"N": 30e6, "D": 26e9, "Ppost": BITS}


def test_rise_with_the_offset_read_as_a_factor() -> None:
    rise = LAW(TABLE, LAW.printed["2411.04330, with its offset"])
    np.testing.assert_allclose(rise, [0.586, 0.108, 0.0198, 0.0036], rtol=0.015)


def test_rise_without_the_offset() -> None:
    rise = LAW(TABLE, LAW.printed["2411.04330, without"])
    np.testing.assert_allclose(rise, [0.190, 0.0349, 0.0064, 0.0012], rtol=0.02)


def test_offset_and_factor_appear_only_as_a_product() -> None:
    p = LAW.printed["2411.04330, with its offset"]
    np.testing.assert_allclose(LAW(TABLE, p), LAW(TABLE, {**p, "C_T": p["C_T"] * np.exp(p["b"]), "b": 0.0}), rtol=1e-12)
