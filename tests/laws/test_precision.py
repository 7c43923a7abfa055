from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pliant.laws.forms import ptq, training_bits
from pliant.laws.forms.precision import LAW

CONSTANTS = {**LAW.printed["2411.04330, with its offset"], "Cw": 0.6, "Ca": 0.5, "Ckv": 0.4}
RUN = {"N": 1e8, "D": 1e10}


@given(st.integers(4, 16))
def test_rounding_to_the_training_bits_costs_nothing(bits: int) -> None:
    trained = {**RUN, "Pw": bits, "Pa": 16.0, "Pkv": 16.0}
    exact = training_bits.LAW(trained, training_bits.PRINTED)
    assert LAW({**trained, "Ppost": bits}, CONSTANTS) == pytest.approx(exact, abs=1e-12)
    assert LAW({**trained, "Ppost": 16.0}, CONSTANTS) == pytest.approx(exact, abs=1e-12)


def test_training_in_full_precision_leaves_the_post_training_law() -> None:
    """At 400 training bits f = 1 and every robustness factor is 1."""
    full = {**RUN, "Pw": 400.0, "Pa": 400.0, "Pkv": 400.0}
    rise = LAW({**full, "Ppost": 4.0}, CONSTANTS) - LAW({**full, "Ppost": 400.0}, CONSTANTS)
    expected = ptq.LAW({**RUN, "Ppost": 4.0}, ptq.LAW.printed["2411.04330, with its offset"])
    assert rise == pytest.approx(float(expected), rel=1e-9)


def test_robustness_by_hand() -> None:
    """Trained at 6, 8 and 10 bits, rounded to 4: the rise is multiplied by (1-e^-1.2)(1-e^-2)(1-e^-2.4)."""
    trained = {**RUN, "Pw": 6.0, "Pa": 8.0, "Pkv": 10.0}
    rise = LAW({**trained, "Ppost": 4.0}, CONSTANTS) - LAW({**trained, "Ppost": 16.0}, CONSTANTS)
    f = [1 - np.exp(-bits / CONSTANTS["g" + part] + CONSTANTS["n" + part]) for bits, part in ((6, "w"), (8, "a"), (10, "kv"))]
    plain = 0.0598 * np.exp(1.1277 - 4 / 0.5907) * 1e10**0.5068 / (1e8 * np.prod(f)) ** 0.3439
    assert rise == pytest.approx(plain * -np.expm1(-1.2) * -np.expm1(-2.0) * -np.expm1(-2.4), rel=1e-9)
