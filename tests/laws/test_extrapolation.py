"""Extrapolation: identities of the form, its fit and its interval; then known laws and shared tables."""

from __future__ import annotations

import numpy as np
import pytest

from pliant.errors import PliantError
from pliant.laws import LAWS, extrapolate, fit, grid, simulate
from pliant.laws.extrapolation.form import PowerSum
from pliant.laws.extrapolation.of_fit import predict_as_fitted, predict_runs
from pliant.laws.extrapolation.rolling import between_models
from pliant.laws.extrapolation.scale import LEARNED, Errors

TRUTH = {"E": 1.82, "A": 480.0, "B": 2100.0, "alpha": 0.35, "beta": 0.37}
COLUMNS = grid(N=(1e7, 3e7, 1e8, 3e8, 1e9), D=(3e8, 1e9, 3e9, 1e10, 3e10))
AT = {"N": [2e9, 1e10], "D": [6e10, 2e11]}


def runs(noise: float = 0.003, seed: int = 0) -> dict[str, np.ndarray]:
    return simulate(LAWS["chinchilla"], COLUMNS, TRUTH, noise, seed)


@pytest.mark.parametrize("columns", [1, 2])
def test_the_jacobian_is_the_derivative(columns: int) -> None:
    form, generator = PowerSum(columns), np.random.default_rng(0)
    theta, rows = form.starts[3] + 0.1 * generator.standard_normal(form.starts.shape[1]), generator.standard_normal((7, columns))
    _, jacobian = form(theta[None], rows)
    for index in range(len(theta)):
        step = np.zeros(len(theta))
        step[index] = 1e-6
        slope = (form((theta + step)[None], rows)[0] - form((theta - step)[None], rows)[0])[0] / 2e-6
        assert jacobian[0, :, index] == pytest.approx(slope, abs=1e-7)


def test_with_g_one_the_form_is_chinchillas() -> None:
    theta = np.array([np.log(0.6), np.log(0.3), np.log(0.2), np.log(0.34), np.log(0.28), 0.0])
    rows = np.array([[0.5, -1.0], [2.0, 1.0]])
    expected = np.log(0.6 + 0.3 * np.exp(-0.34 * rows[:, 0]) + 0.2 * np.exp(-0.28 * rows[:, 1]))
    assert PowerSum(2)(theta[None], rows)[0][0] == pytest.approx(expected)


def test_units_do_not_matter() -> None:
    table = runs()
    first = extrapolate(table, AT)
    scaled = {"N": table["N"] * 1e-6, "D": table["D"] * 1e-9, "loss": table["loss"] / np.log(2)}
    second = extrapolate(scaled, {"N": np.array(AT["N"]) * 1e-6, "D": np.array(AT["D"]) * 1e-9})
    assert second.value * np.log(2) == pytest.approx(first.value, rel=1e-6)
    assert second.high / second.value == pytest.approx(first.high / first.value, rel=1e-5)


def test_a_difference_has_neither_unit_nor_zero_nor_direction() -> None:
    table = runs()
    first = extrapolate(table, AT, residual="difference")
    second = extrapolate(table | {"loss": 5 * (3 - table["loss"])}, AT, residual="difference")
    assert 3 - second.value / 5 == pytest.approx(first.value, rel=1e-6)
    assert 3 - second.low / 5 == pytest.approx(first.high, rel=1e-6)
    assert first.value == pytest.approx(LAWS["chinchilla"]({name: np.array(values) for name, values in AT.items()}, TRUTH), rel=0.03)


def test_the_interval_grows_with_distance_and_its_parts_add_up() -> None:
    sizes = np.array([1e9, 3e9, 1e10, 1e11])
    found = extrapolate(runs(), {"N": sizes, "D": 30 * sizes})
    half = (found.high - found.low) / 2
    assert (np.diff(half / found.value) > 0).all()
    assert np.sqrt(sum(part**2 for part in found.parts.values())) == pytest.approx(half)
    assert found.beyond == pytest.approx(sizes * 30 * sizes / (1e9 * 3e10))
    assert (found.typical < half).all()


def test_a_law_that_holds_exactly_is_found_out() -> None:
    """The form's share goes down where rolling origins show no error beyond noise and parameters."""
    table = runs(0.004)
    assert extrapolate(table, AT).wrongness < 1
    bent = table | {"loss": table["loss"] * (1 + 0.04 * np.sin(np.log(table["N"] * table["D"]) * 1.5))}
    assert extrapolate(bent, AT).wrongness > extrapolate(table, AT).wrongness


def test_errors_that_were_larger_widen_what_is_to_come() -> None:
    known = [np.full(6, value) for value in (0.004, 0.006, 0.006, 0.0, 1.0)]
    future = Errors(np.full(6, np.nan), *known)
    widths = []
    for size in (0.001, 0.01, 0.1):
        past = [Errors(np.full(6, size), *known)] * 4
        widths.append(LEARNED.half_width(future, LEARNED.posterior(past), 0.9)[0])
    assert widths == sorted(widths)
    alone = LEARNED.half_width(future, LEARNED.posterior([]), 0.9)[0]
    assert widths[0] < alone < widths[2]
    assert alone < LEARNED.half_width(future, LEARNED.posterior([]), 0.95)[0]


def test_an_anchor_moves_towards_its_models_mean_and_never_past() -> None:
    table = runs(0.001)
    shifted = table["loss"] * np.where(table["N"] == 1e9, 1.02, 1.0)
    names = np.array([f"{size:g}" for size in table["N"]])
    same = extrapolate(table | {"loss": shifted, "model": names}, {"N": 1e9, "D": 3e10, "model": "1e+09"}, clusters="model")
    other = extrapolate(table | {"loss": shifted, "model": names}, {"N": 1e9, "D": 3e10, "model": "another"}, clusters="model")
    assert other.value[0] < same.value[0] < shifted[(table["N"] == 1e9) & (table["D"] == 3e10)][0] * 1.003
    assert other.high[0] - other.low[0] >= same.high[0] - same.low[0]


def test_between_models_is_the_spread_of_their_means() -> None:
    generator = np.random.default_rng(1)
    models = np.repeat(np.arange(300), 6)
    residuals = 0.02 * generator.standard_normal(300)[models] + 0.01 * generator.standard_normal(len(models))
    assert between_models(residuals, np.ones(len(models)), models) == pytest.approx(0.02, rel=0.15)
    assert between_models(0.01 * generator.standard_normal(len(models)), np.ones(len(models)), models) < 0.002
    assert between_models(residuals[:3], np.ones(3), models[[0, 6, 12]]) == 0


def test_simulated_laws_are_covered() -> None:
    """Twenty tables whose law is true, each with four predictions 1.3 to 600 times beyond: too wide is right, too narrow is not."""
    at = {"N": [1.2e9, 2e9, 1e10, 3e10], "D": [3.3e10, 6e10, 2e11, 6e11]}
    truth = LAWS["chinchilla"]({name: np.array(values) for name, values in at.items()}, TRUTH)
    inside, widths = [], []
    for seed in range(20):
        found = extrapolate(runs(0.005, seed), at)
        measured = truth * np.exp(0.005 * np.random.default_rng(1000 + seed).standard_normal(4))
        inside.append((found.low <= measured) & (measured <= found.high))
        widths.append((found.high - found.low) / found.value)
    assert np.mean(inside) > 0.85
    assert np.median(widths, axis=0)[0] < 0.06


def test_compute_alone() -> None:
    compute = np.logspace(18, 21, 16)
    table = {"flops": compute, "loss": 1.7 + 2e3 * compute**-0.18}
    found = extrapolate(table, {"compute": 1e22}, columns={"compute": "flops"})
    assert found.value[0] == pytest.approx(1.7 + 2e3 * 1e22**-0.18, rel=0.01)
    assert found.low[0] < found.value[0] < found.high[0]


def test_a_fit_predicts_from_its_table() -> None:
    table = runs()
    found = fit("chinchilla", table, bootstrap=100)
    assert predict_runs(found, AT).value == pytest.approx(extrapolate(table, AT).value)
    assert predict_runs(fit("overtrained", table, bootstrap=0), AT).value == pytest.approx(extrapolate(table, AT).value)
    own = predict_as_fitted(found, AT)
    assert own.value == pytest.approx(found.predict({name: np.array(values) for name, values in AT.items()}))
    assert (own.parts["form"] == 0).all()


def test_another_law_extrapolates_by_its_own_formula() -> None:
    truth = {"E": 1.87, "A": 521.0, "B": 1488.0, "alpha": 0.353, "R_D": 15.4, "beta": 0.353}
    columns = grid(N=(1e7, 5e7, 2e8), D=(1e9, 4e9, 1.6e10, 6.4e10), U=(1e8, 4e8, 1.6e9))
    found = fit("repetition_tokens", simulate(LAWS["repetition_tokens"], columns, truth, 0.003, 0), bootstrap=0)
    at = {"N": [1e9], "D": [1e11], "U": [1e10]}
    told = predict_runs(found, at)
    assert told.method == "law repetition_tokens, refitted towards the target"
    assert told.low[0] < LAWS["repetition_tokens"](at, truth)[0] < told.high[0]
    with pytest.raises(PliantError, match=r"give U \(tokens\)"):
        predict_runs(found, {"N": 1e9, "D": 1e11})


def test_what_cannot_be_extrapolated() -> None:
    with pytest.raises(PliantError, match="5 runs are too few to extrapolate from: 8"):
        extrapolate({name: values[:5] for name, values in runs().items()}, AT)
    with pytest.raises(PliantError, match="above zero"):
        extrapolate(runs(), {"N": 0.0, "D": 1e9})
    with pytest.raises(PliantError, match="give D"):
        extrapolate(runs(), {"N": 1e9})
