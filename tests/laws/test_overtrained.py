from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pliant.laws.forms import chinchilla
from pliant.laws.forms.overtrained import LAW

REDPAJAMA = "2403.08540 RedPajama"


@given(st.floats(6, 11), st.floats(8, 13))
def test_is_chinchilla_with_tied_exponents(log_size: float, log_tokens: float) -> None:
    p = LAW.printed[REDPAJAMA]
    columns = {"N": 10**log_size, "D": 10**log_tokens}
    tied = {"E": p["E"], "A": p["a"] * 6 ** -p["eta"], "B": p["b"] * 6 ** -p["eta"], "alpha": 2 * p["eta"], "beta": 2 * p["eta"]}
    np.testing.assert_allclose(LAW(columns, p), chinchilla.LAW(columns, tied), rtol=1e-12)


def test_printed_constants_in_the_form_of_the_released_code() -> None:
    """L = alpha N^s + beta 6^(s/2) (M N)^s + E with the published alpha, beta, s."""
    alpha, beta, s, irreducible = 166.21, 366.69, -0.27285, 1.83665
    size, multiple = 1.4e9, 640.0
    released = alpha * size**s + beta * 6 ** (s / 2) * (multiple * size) ** s + irreducible
    assert LAW({"N": size, "D": multiple * size}, LAW.printed[REDPAJAMA]) == pytest.approx(released, abs=1e-9)
