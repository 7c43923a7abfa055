from __future__ import annotations

import numpy as np
import pytest
from drawn import drawn

from pliant.decide.fits import data
from pliant.decide.fits.bootstrapped import BootstrappedFit
from pliant.errors import PliantError
from pliant.laws import LAWS
from pliant.laws.forms.utility import mixture

EPOCH = 12.8e6
RUNS = {"n": EPOCH * np.array([0.5, 1, 2, 4, 10]), "S": np.full(5, EPOCH)}


def pool(utility: float, half_life: float, spread: float = 0.0, d: float = 0.1) -> BootstrappedFit:
    constants = {"a": 0.022, "b": utility, "tau": half_life, "d": d}
    return drawn("utility", constants, RUNS, {"b": spread, "tau": spread})


def test_aggressive_filtering_first_the_mixture_later() -> None:
    fits = {"fast": pool(-0.2, 2.0, 0.01), "lasting": pool(-0.15, 20.0, 0.01)}
    early, late = data.pools(fits, EPOCH), data.pools(fits, 32 * EPOCH)
    assert early.answer == ["fast"]
    assert late.answer == ["fast", "lasting"]
    assert early.verdict == late.verdict == "answered"


def test_every_set_against_brute_force() -> None:
    constants = {"a": (-0.2, 1.5), "b": (-0.17, 4.0), "c": (-0.12, 12.0), "d": (-0.03, 20.0)}
    decision = data.pools({name: pool(*values) for name, values in constants.items()}, 20 * EPOCH)
    best: tuple[float, list[str]] = (np.inf, [])
    for mask in range(1, 16):
        names = [name for bit, name in enumerate(constants) if mask >> bit & 1]
        b, tau = np.array([constants[name] for name in names]).T
        best = min(best, (float(mixture(20 * EPOCH, np.full(len(names), EPOCH), b, tau, 0.022, 0.1)), names))
    assert decision.answer == best[1]
    assert decision.evidence["error"] == pytest.approx(best[0], rel=1e-12)
    assert len(decision.evidence["comparison"].alternatives) == 15


def test_alike_pools_are_undetermined_between_themselves() -> None:
    """Ten noisy copies of one pool: no set is best in half of the resamples."""
    fits = {f"copy {index}": pool(-0.2 * (1 + 0.001 * index), 4.0, 0.05) for index in range(4)}
    generator = np.random.default_rng(1)
    for fit in fits.values():
        fit.parameters["b"][1:] *= np.exp(0.05 * generator.standard_normal((199, 1)))
    decision = data.pools(fits, EPOCH)
    assert decision.probability_best is not None
    assert decision.probability_best < 0.5
    assert decision.verdict == "undetermined"


def test_refuses_a_budget_far_beyond_the_runs() -> None:
    assert data.pools({"one": pool(-0.2, 4.0)}, 200 * EPOCH).verdict == "refused"


def test_pools_must_share_their_crutches() -> None:
    with pytest.raises(PliantError, match="do not share d"):
        data.pools({"one": pool(-0.2, 4.0), "two": pool(-0.1, 4.0, d=0.2)}, EPOCH)
    with pytest.raises(PliantError, match="not qid"):
        data.pools({"one": drawn("qid", {"k": 1.0, "beta": 0.5, "alpha": 0.2, "gamma": 5.0}, {"D": np.ones(2)})}, EPOCH)


def repeated(spread: float = 0.0) -> BootstrappedFit:
    constants = LAWS["repetition"].printed["2305.16264"]
    measured = {"N": np.geomspace(1e7, 8e9, 9), "D": np.geomspace(1e8, 1.7e11, 9), "U": np.geomspace(1e8, 1e10, 9)}
    return drawn("repetition", constants, measured, {"R_D": spread})


def test_epochs_against_brute_force() -> None:
    unique, compute = 1e9, 6e20
    passes = np.geomspace(0.5, 500, 100_001)
    constants = LAWS["repetition"].printed["2305.16264"]
    loss = LAWS["repetition"]({"N": compute / (6 * passes * unique), "D": passes * unique, "U": unique}, constants)
    decision = data.epochs(repeated(0.05), unique, compute, {})
    assert decision.answer == pytest.approx(passes[np.argmin(loss)], rel=1e-3)
    assert decision.low is not None
    assert decision.high is not None
    assert decision.low <= decision.answer <= decision.high


def test_scarcer_data_is_repeated_more_often() -> None:
    epochs = [data.epochs(repeated(), unique, 6e20, {}).answer for unique in (4e9, 2e9, 1e9)]
    assert epochs == sorted(epochs)
