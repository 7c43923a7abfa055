"""The two-step ladder: loss from size and tokens, accuracy from loss, with one interval."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn import drawn

from pliant.decide import Decision, downstream
from pliant.errors import PliantError
from pliant.laws import LAWS, fit, grid, simulate
from pliant.laws.extrapolation.of_fit import predict_runs

LOSS = {"E": 1.82, "A": 480.0, "B": 2100.0, "alpha": 0.35, "beta": 0.37}
TASK = {"chance": 0.25, "ceiling": 1.0, "slope": 3.0, "middle": 2.5}
RUNS = {"N": np.array([1e8, 1e9, 1e10]), "D": np.array([1e10, 1e11, 1e12])}
LOSSES = {"L": np.array([2.0, 2.5, 3.0])}
AT = {"N": 1e9, "D": 3e10}


def width(found: Decision) -> float:
    assert found.low is not None
    assert found.high is not None
    return found.high - found.low


def test_the_chain_is_the_composition() -> None:
    """By hand, and without spread both ends of the interval are the value."""
    found = downstream(drawn("chinchilla", LOSS, RUNS), drawn("accuracy", TASK, LOSSES), AT)
    loss = 1.82 + 480 * 1e9**-0.35 + 2100 * 3e10**-0.37
    assert found.evidence["loss"] == pytest.approx(loss)
    assert found.answer == pytest.approx(0.25 + 0.75 / (1 + np.exp(3 * (loss - 2.5))))
    assert found.low == pytest.approx(found.answer)
    assert found.high == pytest.approx(found.answer)


def test_spread_of_either_step_counts() -> None:
    """Only E varies: the interval is the slope of the sigmoid times that of the loss. With both, squares add up."""
    one = downstream(drawn("chinchilla", LOSS, RUNS, {"E": 0.005}, draws=4000), drawn("accuracy", TASK, LOSSES, draws=4000), AT)
    share = (one.answer - 0.25) / 0.75
    slope = 0.75 * 3 * share * (1 - share)
    low, high = one.evidence["loss_interval"]
    assert width(one) == pytest.approx(slope * (high - low), rel=0.02)
    assert one.evidence["parts"]["task"] == pytest.approx(0, abs=1e-12)
    other = drawn("accuracy", TASK, LOSSES, {"middle": 0.01}, draws=4000)
    both = downstream(drawn("chinchilla", LOSS, RUNS, {"E": 0.005}, draws=4000), other, AT)
    parts = both.evidence["parts"]
    assert width(both) == pytest.approx(float(np.hypot(parts["loss"], parts["task"])), rel=0.05)
    low, high = both.evidence["new_run_interval"]
    assert high - low > width(both)


def test_fits_that_do_not_chain_are_one_line() -> None:
    loss, task = drawn("chinchilla", LOSS, RUNS), drawn("accuracy", TASK, LOSSES)
    for given, message in (
        ((task, loss, AT), "give a fit of a law of the loss"),
        ((loss, task, {**AT, "L": 2.0}), "leave it out"),
        ((loss, task, {"N": 1e9}), "needs a value of 'D'"),
        ((loss, task, {**AT, "N": -1.0}), "above zero"),
        ((loss, task, {**AT, "Q": 1.0}), "column of none"),
    ):
        with pytest.raises(PliantError, match=message):
            downstream(*given)


def test_fits_of_two_losses_are_refused() -> None:
    N, D = np.tile(np.geomspace(1e7, 1e9, 4), 4), np.repeat(np.geomspace(1e9, 1e11, 4), 4)
    found = fit("chinchilla", {"N": N, "D": D, "loss": LAWS["chinchilla"]({"N": N, "D": D}, LOSS)}, restarts=4, bootstrap=20)
    with pytest.raises(PliantError, match="must be of one loss in one unit"):
        downstream(found, drawn("accuracy", TASK, {"L": np.array([0.6, 0.9])}), AT)


def test_hellaswag_of_a_13b_model_from_a_ladder(shared_data: Path) -> None:
    """Ladder of 190M to 1.3B, target 13B on 5T: published .6530 for a measured .6609 bits per byte, and .853 for an accuracy of .832."""
    table = shared_data / "runs/extrapolation/olmo_ladder.csv"
    small = "N < 2e9"
    bpb, right = "hellaswag_val_rc_5shot_bpb", "hellaswag_val_rc_5shot_len_norm"
    loss = fit("chinchilla", table, {"loss": bpb}, small, unit="nats", restarts=4, bootstrap=50)
    task = fit("accuracy", table, {"L": bpb, "accuracy": right}, small, fix={"chance": 0.25, "ceiling": 1.0}, restarts=4, bootstrap=50)
    found = downstream(loss, task, {"N": 13e9, "D": 5e12})
    assert found.evidence["loss"] == pytest.approx(0.653, abs=0.02)
    assert found.answer == pytest.approx(0.853, abs=0.02)
    low, high = found.evidence["new_run_interval"]
    assert low < 0.832 < high
    assert found.evidence["loss_beyond"] > 0
    assert found.verdict == "undetermined"  # 20 times the tokens of the ladder, at a loss that no run of it had


def test_the_loss_is_extrapolated_from_the_table() -> None:
    """Its interval is that of `pliant predict`; the task's follows through the curve, which falls with the loss."""
    table = simulate(LAWS["chinchilla"], grid(N=(1e7, 3e7, 1e8, 3e8), D=(3e8, 1e9, 3e9, 1e10)), LOSS, 0.003, 0)
    loss = fit("chinchilla", table, bootstrap=50, restarts=4)
    predicted = predict_runs(loss, AT)
    found = downstream(loss, drawn("accuracy", TASK, {"L": table["loss"]}, draws=2000), AT)
    assert found.evidence["loss"] == pytest.approx(predicted.value[0])
    assert found.evidence["loss_interval"] == pytest.approx((predicted.low[0], predicted.high[0]))
    right = [0.25 + 0.75 / (1 + np.exp(3 * (end - 2.5))) for end in (predicted.high[0], predicted.low[0])]
    assert [found.low, found.high] == pytest.approx(right, abs=0.1 * (right[1] - right[0]))
    assert "extrapolating form" in found.evidence["predicted_by"]
