"""Simulated tables whose truth is known: what a fit gives back, to the tolerances of the published grids."""

from __future__ import annotations

import numpy as np
import pytest
from designs import BUDGETS, DESIGNS, SIZES

from pliant.laws import LAWS, Fit, fit, grid, recalibrate, simulate
from pliant.laws.forms.training_bits import PRINTED
from pliant.laws.law import Array


def fitted(name: str, noise: float, seed: int = 0) -> Fit:
    law, design = LAWS[name], DESIGNS[name]
    freed = {parameter: None for parameter in law.fix if parameter not in design.fixed}
    fixed = {parameter: design.parameters[parameter] for parameter in design.fixed if parameter not in law.tie}
    return fit(law, simulate(law, design.columns, design.parameters, noise, seed), fix={**freed, **fixed}, bootstrap=0)


@pytest.mark.parametrize("name", sorted(LAWS))
def test_a_table_without_noise_gives_the_truth_back(name: str) -> None:
    """Noise of 1e-7: parameters to 1%, though A and B stand behind powers of 1e10."""
    found, truth = fitted(name, 1e-7), DESIGNS[name].parameters
    for parameter in DESIGNS[name].free:
        assert found.parameters[parameter] == pytest.approx(truth[parameter], rel=0.01, abs=1e-3), parameter
    assert found.audit.verdict == "holds"


def precision_runs() -> dict[str, Array]:
    """The published grid: 4 sizes x 5 budgets, each part alone at 3 to 12 bits, activations and cache above 3; 460 runs."""
    widths, full = (3, 4, 5, 6, 7, 8, 10, 12), (16,)
    blocks = [
        grid(N=SIZES, D=BUDGETS, Pw=w, Pa=a, Pkv=kv)
        for w, a, kv in ((full, full, full), (widths, full, full), (full, widths[1:], full), (full, full, widths[1:]))
    ]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def best_bits(p: dict[str, float]) -> float:
    """argmax f(P) / P: the joint optimum of size, tokens and bits at any compute."""
    bits = np.linspace(3.5, 16.0, 12_501)
    share = np.prod([1 - np.exp(p["n" + part] - bits / p["g" + part]) for part in ("w", "a", "kv")], axis=0)
    return float(bits[np.argmax(share / bits)])


def test_training_bits_recovered_from_the_published_grid() -> None:
    """1% noise, offsets known: g_w within 10% (pilot: standard error 3%) and P* within half a bit (pilot: 0.08)."""
    runs = precision_runs()
    assert len(runs["N"]) == 460
    offsets = {name: PRINTED[name] for name in ("nw", "na", "nkv")}
    found = fit("training_bits", simulate(LAWS["training_bits"], runs, PRINTED, 0.01, 0), fix=offsets, bootstrap=0)
    assert found.parameters["gw"] == pytest.approx(PRINTED["gw"], rel=0.1)
    assert best_bits(found.parameters) == pytest.approx(7.0, abs=0.5)


def test_offsets_trade_off_with_rates_yet_the_best_bits_stand() -> None:
    """With the offsets free, g_w alone is known to 12% only (pilot), but f(P) and so P* stand (pilot: 0.14)."""
    found = fit("training_bits", simulate(LAWS["training_bits"], precision_runs(), PRINTED, 0.01, 1), bootstrap=0)
    assert best_bits(found.parameters) == pytest.approx(7.0, abs=0.5)


def test_post_training_exponents_recovered() -> None:
    """1% noise: both exponents within .03."""
    found = fitted("ptq", 0.01).parameters
    assert found["gD"] == pytest.approx(0.5068, abs=0.03)
    assert found["gN"] == pytest.approx(0.3439, abs=0.03)


def test_the_right_form_of_bits_wins_and_the_wrong_one_shows() -> None:
    """Rises that fall exponentially with bits, 2 to 8: the power of bits misses them by far more than the noise."""
    runs = grid(N=SIZES, D=BUDGETS, Ppost=(2, 3, 4, 5, 6, 8))
    table = simulate(LAWS["ptq"], runs, LAWS["ptq"].printed["2411.04330, without"], 0.05, 0)
    errors = {name: float(np.std(fit(name, table, bootstrap=0).residuals())) for name in ("ptq", "qid")}
    assert errors["ptq"] < 0.06
    assert errors["qid"] > 3 * errors["ptq"]


@pytest.mark.parametrize(("b", "tau"), [(-0.2, 4.0), (-0.15, 6.0), (-0.1, 10.0)])
def test_utility_from_five_points(b: float, tau: float) -> None:
    """2, 4, 6, 8 and 10 epochs without noise, a and d given: b and tau within 5%."""
    truth = {"a": 0.022, "b": b, "tau": tau, "d": 0.1}
    table = simulate(LAWS["utility"], grid(n=[12.8e6 * epochs for epochs in (2, 4, 6, 8, 10)], S=(12.8e6,)), truth, 0.0, 0)
    found = fit("utility", table, fix={"a": 0.022, "d": 0.1}, bootstrap=0).parameters
    assert found["b"] == pytest.approx(b, rel=0.05)
    assert found["tau"] == pytest.approx(tau, rel=0.05)


def test_pools_fitted_together_share_what_one_pool_cannot_tell() -> None:
    """Three pools, a and d unknown: one fit split by pool finds all of them."""
    epochs = (0.25, 0.5, 1, 2, 4, 6, 8, 10)
    pools = {"top": (-0.2, 4.0), "second": (-0.15, 6.0), "third": (-0.1, 10.0)}
    blocks = [
        simulate(LAWS["utility"], grid(n=[12.8e6 * e for e in epochs], S=(12.8e6,)), {"a": 0.03, "b": b, "tau": t, "d": 0.15}, 1e-5, 0)
        for b, t in pools.values()
    ]
    table = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    table["pool"] = np.repeat(list(pools), len(epochs))
    found = fit("utility", table, by={"b": "pool", "tau": "pool"}, bootstrap=0).parameters
    assert found["a"] == pytest.approx(0.03, rel=0.05)
    assert found["d"] == pytest.approx(0.15, rel=0.05)
    for pool, (b, tau) in pools.items():
        assert found[f"b[{pool}]"] == pytest.approx(b, rel=0.05)
        assert found[f"tau[{pool}]"] == pytest.approx(tau, rel=0.05)


def test_recalibration_moves_the_levels_and_keeps_the_shape() -> None:
    """Somebody else's constants on runs with twice the rise: C_T doubles, the exponents stay."""
    law = LAWS["ptq"]
    printed = law.printed["2411.04330, without"]
    table = simulate(law, grid(N=(1e7, 3e7), D=(1e9, 3e9), Ppost=(3, 4)), {**printed, "C_T": 2 * printed["C_T"]}, 0.01, 0)
    found = recalibrate("ptq", "2411.04330, without", table, free=("C_T",), bootstrap=50)
    assert found.parameters["C_T"] == pytest.approx(2 * printed["C_T"], rel=0.02)
    assert {name: found.parameters[name] for name in ("gD", "gN", "gpost", "b")} == {
        name: printed[name] for name in ("gD", "gN", "gpost", "b")
    }
