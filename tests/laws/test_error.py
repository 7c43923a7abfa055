from __future__ import annotations

import numpy as np
import pytest

from pliant.laws.forms.error import LAW


def test_falls_with_loss_towards_what_a_perfect_model_has() -> None:
    p = LAW.printed["2403.08540 RedPajama, 17 tasks"]
    errors = LAW({"L": np.array([2.0, 2.5, 3.0, 100.0])}, p)
    assert (np.diff(errors) > 0).all()
    assert errors[-1] == pytest.approx(p["epsilon"])
