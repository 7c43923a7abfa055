"""Forms of practice: identities and values that follow from the formulas without the code."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pliant.errors import PliantError
from pliant.laws import LAWS, fit
from pliant.laws.forms import step_law, vocabulary
from pliant.laws.forms.experts import effective
from pliant.laws.forms.schedules import past

CHINCHILLA = {"E": 1.8, "A": 480.0, "B": 2100.0, "alpha": 0.35, "beta": 0.37}


def test_coupled_with_power_one_is_chinchilla() -> None:
    runs = {"N": np.array([1e8, 1e9]), "D": np.array([1e10, 1e9])}
    np.testing.assert_allclose(LAWS["coupled"](runs, CHINCHILLA | {"k": 1.0}), LAWS["chinchilla"](runs, CHINCHILLA), rtol=1e-12)


def test_farseer_without_size_slopes_is_a_power_of_tokens() -> None:
    flat = {"a3": 0.0, "g": 0.2, "b3": 0.5, "a2": 0.0, "b": 0.2, "b2": 7.0, "a1": 0.0, "a": 0.2, "b1": -1.0}
    assert LAWS["farseer"]({"N": 3e9, "D": 1e10}, flat) == pytest.approx(math.exp(0.5) + math.exp(7.0) * 1e10 ** -math.exp(-1.0))


def test_experts_saturate_at_both_ends() -> None:
    Es, Em = torch.tensor(2.4), torch.tensor(218.0)
    ends = effective(torch.tensor([1.0, 1e12]), Es, Em)
    np.testing.assert_allclose(ends, [2.4, 218.0], rtol=1e-5)
    assert torch.isnan(effective(torch.tensor(4.0), Em, Es))


def test_mixture_of_experts_with_one_expert_is_the_printed_dense_law() -> None:
    """E = 1: 30.4 N^-.182 + 53.8 D^-.196 + 1.3637; 1e20 FLOPs are best spent on 1.7B parameters and 9.7B tokens."""
    law = LAWS["mixture_of_experts"]
    sizes = np.geomspace(1e8, 1e10, 2001)
    tokens = 1e20 / (6 * sizes)
    loss = law({"N": sizes, "D": tokens, "experts": np.ones(2001)}, law.printed["2502.05172"])
    np.testing.assert_allclose(loss, 30.4 * sizes**-0.182 + 53.8 * tokens**-0.196 + 1.3637, rtol=2e-3)
    assert sizes[loss.argmin()] == pytest.approx(1.73e9, rel=0.03)


def test_best_rate_and_batch_are_the_bottom_of_the_bowl() -> None:
    constants = CHINCHILLA | {"rate": 1.79, "m": -0.713, "n": 0.307, "size": 0.58, "k": 0.571, "u": 0.0066, "v": 0.0059, "w": -0.0052}
    lr, batch = step_law.best(constants, 1e9, 1e11)
    assert lr == pytest.approx(1.79 * 1e9**-0.713 * 1e11**0.307)
    assert batch == pytest.approx(0.58 * 1e11**0.571)
    near = np.array([0.9, 1.0, 1.1])
    for sweep in ({"lr": lr * near, "batch": batch}, {"lr": lr, "batch": batch * near}):
        assert LAWS["step_law"]({"N": 1e9, "D": 1e11, **sweep}, constants).argmin() == 1


def test_tokens_per_character_as_published() -> None:
    """.27 tokens per character for a vocabulary of 16k."""
    assert vocabulary.tokens_per_character(16384) == pytest.approx(0.27, abs=0.01)


def test_a_broken_power_has_two_slopes() -> None:
    constants = {"a": 0.0, "b": 3.0, "c0": 0.2, "c1": 0.5, "d1": 1e4, "f1": 0.1}
    y = np.log(LAWS["broken_power"]({"x": np.array([1e1, 1e2, 1e7, 1e8])}, constants))
    assert (y[0] - y[1]) / math.log(10) == pytest.approx(0.2, abs=1e-6)
    assert (y[2] - y[3]) / math.log(10) == pytest.approx(0.7, abs=1e-6)


def columns(step: np.ndarray, lr: np.ndarray, warmup: float = 0.0) -> tuple[torch.Tensor, ...]:
    return tuple(torch.as_tensor(np.asarray(values, float)) for values in (np.ones(len(step)), step, lr, warmup))


def test_sum_of_rates_of_a_constant_run_and_its_warm_up() -> None:
    """1,000 steps of warm-up count half; a constant rate has no drops."""
    found = past(*columns(np.array([2000.0, 3000.0]), np.full(2, 3e-4), 1000.0))
    np.testing.assert_allclose(found.trained, [1500 * 3e-4, 2500 * 3e-4])
    assert len(found.row) == 0


def test_past_at_every_step_is_the_laws_definition() -> None:
    """A cosine of 600 steps, logged at every step: sums over all drops as written in the papers, computed one by one."""
    steps, lam = np.arange(1.0, 601.0), 0.99
    lr = 1e-3 * (0.55 + 0.45 * np.cos(np.pi * steps / 600))
    momentum = {"L0": 2.0, "A": 0.5, "alpha": 0.5, "C": 0.4, "lam": lam}
    multi = {"L0": 2.0, "A": 0.5, "alpha": 0.5, "B": 400.0, "C": 2.0, "beta": 0.6, "gamma": 0.6}
    run = {"run": np.ones(600), "step": steps, "lr": lr}
    sums, drop = np.cumsum(lr), lr[:-1] - lr[1:]
    recursion = np.zeros(600)
    for k in range(1, 600):
        recursion[k] = lam * recursion[k - 1] + drop[k - 1]
    expected = 2.0 + 0.5 * sums**-0.5 - 0.4 * np.cumsum(recursion)
    np.testing.assert_allclose(LAWS["momentum"](run, momentum)[50:], expected[50:], rtol=2e-3)
    gains = [
        sum(drop[k - 1] * 400 * (1 - (1 + 2 * lr[k] ** -0.6 * (sums[t] - sums[k - 1])) ** -0.6) for k in range(1, t + 1))
        for t in (100, 300, 599)
    ]
    expected = 2.0 + 0.5 * sums[[100, 300, 599]] ** -0.5 - np.array(gains)
    np.testing.assert_allclose(LAWS["multi_power"](run, multi)[[100, 300, 599]], expected, rtol=2e-3)


def test_row_order_and_other_runs_do_not_matter() -> None:
    step, lr = np.array([100.0, 200.0, 300.0]), np.array([3e-4, 2e-4, 1e-4])
    alone = LAWS["momentum"]({"run": np.ones(3), "step": step, "lr": lr}, {"L0": 2.0, "A": 0.5, "alpha": 0.5, "C": 0.4, "lam": 0.99})
    order = np.array([2, 0, 1, 3, 4, 5])
    both = {"run": np.repeat([7.0, 3.0], 3)[order], "step": np.tile(step, 2)[order], "lr": np.concatenate([lr, lr[::-1]])[order]}
    mixed = LAWS["momentum"](both, {"L0": 2.0, "A": 0.5, "alpha": 0.5, "C": 0.4, "lam": 0.99})
    np.testing.assert_allclose(mixed[:3], alone[order[:3]], rtol=1e-12)


def test_a_step_twice_in_a_run_is_one_line() -> None:
    table = {"step": np.array([1e3, 1e3, 2e3, 3e3, 4e3, 5e3]), "lr": np.full(6, 3e-4), "loss": np.linspace(4, 3, 6)}
    with pytest.raises(PliantError, match="two rows of one run have step 1000"):
        fit("momentum", table, bootstrap=0)
