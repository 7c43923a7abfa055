"""Questions refuse laws that do not read what they turn, and values that cannot be."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from drawn import KUMAR, drawn

from pliant.decide import Decision, epochs, pools, rounding_bits, serving_bits, size, tokens, training_bits
from pliant.decide.fits.bootstrapped import BootstrappedFit
from pliant.errors import PliantError
from pliant.laws import LAWS

RUNS = {"N": np.geomspace(1e7, 1e10, 8), "D": np.geomspace(1e9, 1e12, 8)}
CHINCHILLA = drawn("chinchilla", LAWS["chinchilla"].printed["2404.10102"], RUNS, {"E": 0.01})
PTQ = drawn("ptq", LAWS["ptq"].printed[KUMAR], {**RUNS, "Ppost": np.tile([3.0, 4.0], 4)}, {"C_T": 0.01})
LOSS_TO_ERROR = drawn("error", dict.fromkeys(LAWS["error"].parameter_names, 1.0), {"L": np.ones(8)})
REPETITION = LAWS["repetition"].printed["2305.16264"]
REPEATED = drawn("repetition", REPETITION, {**RUNS, "U": RUNS["D"] / 4}, {"R_D": 0.01})
ONCE = drawn("repetition", REPETITION, {**RUNS, "U": RUNS["D"]}, {"R_D": 0.01})

QUESTIONS: list[tuple[Callable[..., Decision], tuple[Any, ...], str]] = [
    (tokens, ([LOSS_TO_ERROR], {}), "law error knows nothing of D; laws that can answer: chinchilla"),
    (size, ([LOSS_TO_ERROR], 1e20, {}), "law error knows nothing of N, D; laws that can answer: chinchilla"),
    (
        training_bits,
        ([CHINCHILLA], 1e20, {}),
        "law chinchilla knows nothing of Pw, Pa, Pkv; laws that can answer: training_bits, precision",
    ),
    (serving_bits, ([CHINCHILLA], 1e9, {"D": 1e10}), "law chinchilla knows nothing of Ppost; laws that can answer: ptq, qid, precision"),
    (rounding_bits, ([CHINCHILLA], 0.1, {"N": 1e8, "D": 1e10}), "law chinchilla knows nothing of Ppost; laws that can answer: ptq, qid"),
    (epochs, (CHINCHILLA, 1e10, 1e20, {}), "law chinchilla knows nothing of U; laws that can answer: repetition, repetition_tokens"),
    (epochs, (PTQ, 1e10, 1e20, {}), "law ptq knows nothing of U"),
    (epochs, (ONCE, 1e10, 1e20, {}), "none of the runs behind this fit repeats its data"),
    (rounding_bits, ([CHINCHILLA, PTQ], 0.1, {"N": 1e8, "D": 1e10}), "law chinchilla knows nothing of Ppost"),
    (size, ([CHINCHILLA, CHINCHILLA], 1e20, {}), "both predict the loss, and predictions are summed"),
    (tokens, ([CHINCHILLA], {"N": 1e8, "D": 1e10}), "D is what this question decides"),
    (size, ([CHINCHILLA], 1e20, {"N": 1e8}), "N is what this question decides"),
]


@pytest.mark.parametrize(("question", "arguments", "says"), QUESTIONS, ids=[says[:40] for _, _, says in QUESTIONS])
def test_a_law_that_knows_nothing_of_the_question_gives_no_answer(question: Callable[..., Decision], arguments: Any, says: str) -> None:
    with pytest.raises(PliantError, match=says):
        question(*arguments)


def test_laws_that_know_it_answer() -> None:
    assert tokens([CHINCHILLA, PTQ], {"N": 1e8, "Ppost": 3.0}).answer is not None
    assert size([CHINCHILLA], 1e21, {}).answer is not None
    assert epochs(REPEATED, 1e10, 1e21, {}).answer is not None
    assert rounding_bits([PTQ], 10.0, {"N": 1e8, "D": 1e10}).answer is not None


def test_repeating_far_more_than_was_ever_measured_is_refused() -> None:
    """The runs went through their data four times; the question would take it through forty and more."""
    few = epochs(REPEATED, 1e10, 1e21, {})
    many = epochs(REPEATED, 4e8, 2e21, {})
    assert few.verdict == "answered"
    assert few.answer < 40
    assert (many.verdict, many.answer, many.low) == ("refused", None, None)
    assert "times beyond" in many.reason


BAD = [0.0, -1.0, math.nan, math.inf, -math.inf, 1e308, 1e-320]


@pytest.mark.parametrize("value", BAD)
@pytest.mark.filterwarnings("error")
def test_numbers_that_cannot_be_are_refused_by_name(value: float) -> None:
    calls: list[tuple[str, Callable[[], Decision]]] = [
        ("N", lambda: tokens([CHINCHILLA], {"N": value})),
        ("compute", lambda: size([CHINCHILLA], value, {})),
        ("unique", lambda: epochs(REPEATED, value, 1e20, {})),
        ("compute", lambda: epochs(REPEATED, 1e9, value, {})),
        ("memory", lambda: serving_bits([CHINCHILLA, PTQ], value, {"D": 1e10})),
        ("tolerance", lambda: rounding_bits([PTQ], value, {"N": 1e8, "D": 1e10})),
        ("samples", lambda: pools(dict[str, BootstrappedFit](), value)),
    ]
    for name, call in calls:
        with pytest.raises(PliantError, match=f"^{name} = "):
            call()


def test_no_tokens_to_search_among_is_a_line() -> None:
    with pytest.raises(PliantError, match="measured from 1B tokens on, and 1M is the most asked for"):
        tokens([CHINCHILLA], {"N": 1e8}, 1e6)
