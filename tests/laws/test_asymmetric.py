"""The asymmetric loss: under-trained runs pull less, and everything else is as with Huber's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from designs import CHINCHILLA

from pliant.errors import PliantError
from pliant.laws import LAWS, fit, grid, simulate
from pliant.laws.fitting.robust import RobustLoss

RESIDUALS = torch.tensor([-0.5, -0.01, -5e-4, 0.0, 5e-4, 0.01, 0.5], dtype=torch.float64)


def test_penalty_one_is_huber_and_three_counts_what_lies_below_three_times() -> None:
    plain, one, three = (RobustLoss.parse(form).value(RESIDUALS) for form in ("huber:1e-3", "huber:1e-3:1", "huber:1e-3:3"))
    torch.testing.assert_close(plain, one, rtol=0, atol=0)
    torch.testing.assert_close(three, plain * torch.tensor([3, 3, 3, 1, 1, 1, 1]))


def test_slope_and_information_are_those_of_the_value() -> None:
    """E[rho''] / E[rho'^2] under Gaussian errors, by a sum over a fine grid."""
    loss, noise = RobustLoss.parse("huber:1e-3:4"), 2e-3
    r = torch.linspace(-10 * noise, 10 * noise, 400_001, dtype=torch.float64).requires_grad_()
    (slope,) = torch.autograd.grad(loss.value(r).sum(), r)
    torch.testing.assert_close(slope, loss.slope(r.detach()))
    density = torch.exp(-((r.detach() / noise) ** 2) / 2)
    curvature = torch.where(r.detach().abs() < 1e-3, torch.where(r.detach() < 0, 4.0, 1.0), 0.0)
    expected = float((curvature * density).sum() / (slope**2 * density).sum())
    assert loss.information(noise) == pytest.approx(expected, rel=1e-3)


def test_a_constant_is_fitted_by_its_quantile() -> None:
    """Far above the corner, penalty p is the quantile 1 / (1 + p)."""
    values = np.exp(np.random.default_rng(0).standard_normal(2001))
    table = {"N": np.linspace(1, 2, 2001), "D": np.linspace(1, 2, 2001), "loss": values}
    none = {"A": 0.0, "B": 0.0, "alpha": 0.0, "beta": 0.0}
    found = fit("chinchilla", table, fix=none, loss="huber:1e-2:3", restarts=4, bootstrap=0)
    assert (values < found.parameters["E"]).mean() == pytest.approx(0.25, abs=0.01)


def test_runs_gone_wrong_bias_the_prediction_less() -> None:
    """A third of the runs 1% too high, noise .1%: the larger run is predicted nearer to the truth with a penalty of 3."""
    columns, at = grid(N=(1e7, 3e7, 1e8, 3e8, 1e9), D=(1e9, 3e9, 1e10, 3e10, 1e11)), {"N": 3e9, "D": 3e11}
    truth = float(LAWS["chinchilla"](at, CHINCHILLA))
    errors = {"huber:1e-3": 0.0, "huber:1e-3:3": 0.0}
    for seed in range(4):
        table = simulate(LAWS["chinchilla"], columns, CHINCHILLA, 0.001, seed)
        wrong = np.random.default_rng(seed).random(25) < 0.33
        table["loss"] = table["loss"] * np.where(wrong, 1.01, 1.0)
        for loss in errors:
            errors[loss] += abs(float(np.log(fit("chinchilla", table, loss=loss, restarts=2, bootstrap=0).predict(at)[0] / truth)))
    assert errors["huber:1e-3:3"] < errors["huber:1e-3"]


WRONG = ["huber:1e-3:0", "huber:1e-3:-1", "huber:1e-3:1e9", "huber:1e-3:3:4", "huber:1e-3:nan", "squares:3", "huber::3"]


@pytest.mark.parametrize("form", WRONG)
def test_bad_penalties_are_one_line(form: str) -> None:
    with pytest.raises(PliantError, match="write huber"):
        RobustLoss.parse(form)
