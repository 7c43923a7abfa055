from __future__ import annotations

import numpy as np
import pytest
from designs import DESIGNS

from pliant.laws.forms.noisy_channel import LAW

TRUTH = DESIGNS["noisy_channel"].parameters


def test_formula_by_hand() -> None:
    # signal 3 * 4^1 = 12, noise 1 * (4 * 4)^.5 + 0 * 4 + 0 = 4; log2(1 + 3) = 2; capacity .25 * 4^.5 * 2 = 1
    parameters = {"a": 0.25, "alpha": 0.5, "b": 3.0, "beta": 1.0, "c": 1.0, "gamma": 0.5, "d": 0.0, "delta": 1.0, "e": 0.0}
    assert LAW({"N": 4.0, "D": 4.0}, parameters) == pytest.approx(1.0, rel=1e-12)


def test_only_ratios_of_signal_and_noise_count() -> None:
    columns = DESIGNS["noisy_channel"].columns
    scaled = {name: value * (7.0 if name in "bcde" else 1.0) for name, value in TRUTH.items()}
    np.testing.assert_allclose(LAW(columns, scaled), LAW(columns, TRUTH), rtol=1e-12)


def test_can_turn_upwards_with_tokens() -> None:
    """Noise that grows faster than the signal: loss falls, then rises; without it, loss only falls."""
    tokens = np.logspace(8, 13, 51)
    turning = LAW({"N": 1e9, "D": tokens}, TRUTH)
    assert 0 < int(np.argmin(turning)) < 50
    falling = LAW({"N": 1e9, "D": tokens}, {**TRUTH, "c": 0.0, "d": 0.0})
    assert (np.diff(falling) < 0).all()
