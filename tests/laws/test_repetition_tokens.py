from __future__ import annotations

import pytest

from pliant.laws.forms import chinchilla
from pliant.laws.forms.repetition import LAW as BOTH
from pliant.laws.forms.repetition_tokens import LAW

CONSTANTS = {name: value for name, value in BOTH.printed["2305.16264"].items() if name in LAW.parameter_names}


@pytest.mark.parametrize("tokens", [1e8, 1e9])
def test_up_to_one_epoch_it_is_chinchilla(tokens: float) -> None:
    shape = {name: value for name, value in CONSTANTS.items() if name != "R_D"}
    expected = chinchilla.LAW({"N": 1e8, "D": tokens}, shape)
    assert LAW({"N": 1e8, "D": tokens, "U": 1e9}, CONSTANTS) == pytest.approx(float(expected), rel=1e-12)


def test_no_number_of_epochs_is_worth_more_than_1_plus_R_D_of_them() -> None:
    shape = {name: value for name, value in CONSTANTS.items() if name != "R_D"}
    best = chinchilla.LAW({"N": 1e8, "D": 1e9 * (1 + CONSTANTS["R_D"])}, shape)
    assert LAW({"N": 1e8, "D": 1e15, "U": 1e9}, CONSTANTS) == pytest.approx(float(best), rel=1e-9)


def test_it_is_repetition_without_the_discount_on_parameters() -> None:
    columns = {"N": 1e9, "D": 8e9, "U": 1e9}
    assert LAW(columns, CONSTANTS) == pytest.approx(float(BOTH(columns, {**CONSTANTS, "R_N": 1e9})), rel=1e-9)
