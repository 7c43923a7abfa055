"""Intervals of decisions on simulated runs: how often they hold the truth."""

from __future__ import annotations

import numpy as np
import pytest

from pliant.decide import critical_tokens, tokens
from pliant.laws import LAWS, fit, grid, simulate
from pliant.laws.forms.training_bits import PRINTED

BASE = {name: PRINTED[name] for name in ("E", "A", "B", "alpha", "beta")}
RISE = LAWS["ptq"].printed["2411.04330, with its offset"]
SIZES, BUDGETS = (1e7, 3e7, 1e8), np.geomspace(1e9, 5e11, 8)


@pytest.mark.slow
def test_nine_in_ten_intervals_hold_the_critical_tokens() -> None:
    """30 simulated pairs of fits. Pilot: 205 of 231 intervals hold the truth, 89% (standard error for 30: 6%).

    The control, the same intervals at half their width, holds it in about 59% of cases.
    """
    truth, found = critical_tokens({**BASE, **RISE}, 3e7, 4.0), []
    for seed in range(30):
        base = fit("chinchilla", simulate(LAWS["chinchilla"], grid(N=SIZES, D=BUDGETS), BASE, 0.003, seed), bootstrap=200)
        table = simulate(LAWS["ptq"], grid(N=SIZES, D=BUDGETS, Ppost=(3, 4, 5)), RISE, 0.1, 1000 + seed)
        decision = tokens([base, fit("ptq", table, bootstrap=200)], {"N": 3e7, "Ppost": 4.0})
        if decision.verdict != "refused":  # 5% of audits of a true law fail
            assert decision.low is not None
            assert decision.high is not None
            found.append((decision.low, decision.high))
    low, high = np.log(np.array(found)).T
    middle, reach = (low + high) / 2, (high - low) / 2
    distance = np.abs(np.log(truth) - middle) / reach
    assert len(found) >= 26
    assert (distance <= 1).mean() >= 0.75
    assert (distance <= 0.5).mean() < 0.75
