"""A plan for a sweep: within budget and regime, near the best there is, and as good as it says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pliant.decide import sweep
from pliant.decide.fits import sweep as planning
from pliant.errors import PliantError
from pliant.laws import LAWS, Fit, fit, grid, simulate

CONSTANTS = {"E": 1.8, "A": 480.0, "B": 2100.0, "alpha": 0.35, "beta": 0.37}
GRID = grid(N=(1e7, 3e7, 1e8, 3e8), D=(3e8, 1e9, 3e9, 1e10))
NOISE = 0.003


@pytest.fixture(scope="module")
def base() -> Fit:
    return fit("chinchilla", simulate(LAWS["chinchilla"], GRID, CONSTANTS, NOISE, 0), loss="squares", bootstrap=200)


def test_a_plan_stays_within_budget_and_regime_and_is_the_same_every_time(base: Fit) -> None:
    plan = sweep(base, 3e19, compute=1e20, runs=6)
    assert plan.answer == sweep(base, 3e19, compute=1e20, runs=6).answer
    assert 1 <= len(plan.answer) <= 6
    assert sum(run["compute"] for run in plan.answer) <= 3e19 * 1.001
    for run in plan.answer:
        assert 1 / 1.001 <= run["D"] / run["N"] <= 1000 * 1.001
        assert 1e7 / 1.001 <= run["N"] <= 1.2e9 * 1.001
        assert run["compute"] == pytest.approx(6 * run["N"] * run["D"])
    assert 0 < plan.evidence["relative_width_after"] < plan.evidence["relative_width_before"]


def test_more_money_never_leaves_more_open(base: Fit) -> None:
    left = [sweep(base, budget, at={"N": 3e9, "D": 6e10}).evidence["remaining"] for budget in (1e18, 1e19, 1e20)]
    assert left == sorted(left, reverse=True)


def test_what_remains_is_the_ratio_of_standard_errors(base: Fit) -> None:
    """By finite differences of the formula in its own parameters: c' (J'J)^-1 c with and without the planned runs."""
    at = {"N": 3e9, "D": 6e10}
    plan = sweep(base, 1e20, at=at, runs=8)
    added = {name: np.array([run[name] for run in plan.answer]) for name in ("N", "D")}

    def slopes(columns: dict[str, np.ndarray]) -> np.ndarray:
        found: list[np.ndarray] = []
        for name, value in base.parameters.items():
            ends = [np.log(LAWS["chinchilla"](columns, base.parameters | {name: value * (1 + step)})) for step in (1e-5, -1e-5)]
            found.append((ends[0] - ends[1]) / 2e-5)
        return np.stack(found, axis=-1)

    def error(table: np.ndarray) -> float:
        wanted = slopes({name: np.array([value]) for name, value in at.items()})[0]
        return float(np.sqrt(wanted @ np.linalg.solve(table.T @ table, wanted)))

    before = slopes(base.columns)
    assert plan.evidence["remaining"] == pytest.approx(error(np.concatenate([before, slopes(added)])) / error(before), rel=1e-3)
    assert plan.evidence["remaining"] < 0.8


def test_exchange_comes_near_the_best_of_all_pairs() -> None:
    """40 random candidates of random price: every affordable pair tried."""
    generator = np.random.default_rng(0)
    for _ in range(5):
        slopes, price = generator.standard_normal((40, 3)), generator.uniform(0.1, 1, 40)
        known, wanted = np.eye(3), generator.standard_normal(3)
        pairs = [list(pair) for pair in itertools.combinations_with_replacement(range(40), 2) if price[list(pair)].sum() <= 1]
        best = min(planning.variance(known + slopes[pair].T @ slopes[pair], wanted) for pair in pairs)
        plan = planning.best_plan(known, slopes, wanted, price, 1.0, 2)
        assert price[plan].sum() <= 1.0001
        assert planning.variance(known + slopes[plan].T @ slopes[plan], wanted) <= best * 1.15


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"budget": 1e19}, "give --compute"),
        ({"budget": 1e19, "compute": 1e21, "at": {"N": 1e9, "D": 1e10}}, "give --compute"),
        ({"budget": 1e19, "at": {"N": 1e9}}, "both N and D"),
        ({"budget": 1e5, "compute": 1e21}, "below the cheapest run"),
        ({"budget": float("nan"), "compute": 1e21}, "budget"),
        ({"budget": 1e19, "compute": 1e21, "runs": 0}, "runs 0"),
        ({"budget": 1e19, "at": {"N": -1.0, "D": 1e9}}, "above zero"),
        ({"budget": 1e19, "at": {"Q": 1.0}}, "column of none"),
    ],
)
def test_bad_questions_are_one_line(base: Fit, given: dict[str, object], message: str) -> None:
    with pytest.raises(PliantError, match=message):
        sweep(base, **given)  # pyright: ignore[reportArgumentType]


def test_a_question_far_beyond_the_runs_is_refused(base: Fit) -> None:
    assert sweep(base, 1e19, compute=1e27).verdict == "refused"
