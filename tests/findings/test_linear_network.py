"""The two-layer linear network against what theory and an independent simulation say."""

import numpy as np
import pytest

from pliant.findings.linear_network import LinearNetwork, Weights, finetuned, make_task, pretrain, turning_point


@pytest.fixture(scope="module")
def trained():
    task = make_task()
    return task, pretrain(task)


def test_noise_formula_is_exact_for_a_network_of_one_unit():
    # E 1/2 ((b + e2)(a + e1) - t)^2 = 1/2 ((ab - t)^2 + g^2 (a^2 + b^2) + g^4), by hand
    a, b, t, g = 0.7, -1.3, 0.4, 0.5
    expected = 0.5 * ((a * b - t) ** 2 + g**2 * (a**2 + b**2) + g**4)
    assert Weights(np.array([[a]]), np.array([[b]])).noisy_loss(np.array([[t]]), g) == pytest.approx(expected)


def test_modes_follow_the_closed_form_of_gradient_flow():
    # balanced start: s(t) = sigma e^(2 sigma t) / (e^(2 sigma t) - 1 + sigma / s0)
    sigma, start, lr, steps = 1.5, 1e-3, 2e-4, 20_000
    weights = Weights(np.array([[start]]), np.array([[start]]))
    for _ in range(steps):
        weights = weights.step(np.array([[sigma]]), lr)
    growth = np.exp(2 * sigma * lr * steps)
    expected = sigma * growth / (growth - 1 + sigma / start**2)
    assert (weights.second @ weights.first).item() == pytest.approx(expected, rel=5e-3)


@pytest.mark.parametrize(("gamma", "low", "step", "end"), [(0.05, 2.27, 250, 2.375), (0.08, 8.57, 100, 9.35), (0.02, 0.269, 1000, 0.270)])
def test_noise_curves_are_those_of_an_independent_simulation(trained, gamma, low, step, end):
    task, states = trained
    curve = [weights.noisy_loss(task.target, gamma) for weights in states.values()]
    bottom, rise = turning_point(curve)
    assert curve[bottom] == pytest.approx(low, rel=0.02)
    assert list(states)[bottom] == pytest.approx(step, rel=0.3)
    assert curve[-1] == pytest.approx(end, rel=0.02)
    assert rise > 0


@pytest.mark.parametrize(("rate", "low", "end"), [(0.005, 1.095, 1.118), (0.02, 2.90, 5.21), (0.05, 5.5, 8.19)])
def test_finetuning_curves_are_those_of_an_independent_simulation(trained, rate, low, end):
    task, states = trained
    curve = [finetuned(weights, task, rate).loss(task.target) for weights in states.values()]
    assert min(curve) == pytest.approx(low, rel=0.04)
    assert curve[-1] == pytest.approx(end, rel=0.04)


def test_without_noise_there_is_no_turning_point(trained):
    task, states = trained
    curve = [weights.noisy_loss(task.target, 0.0) for weights in states.values()]
    assert turning_point(curve) == (len(curve) - 1, 0.0)


def test_the_finding_is_reproduced(tmp_path):
    outcome = LinearNetwork().test(tmp_path)
    assert outcome.verdict == "reproduced"
    assert all(outcome.checks.values())
