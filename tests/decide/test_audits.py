"""What audits say at the distance a decision asks at, and when that withholds the answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from drawn import drawn

from pliant.decide import Decision, size
from pliant.decide.fits.audits import audits, times_beyond
from pliant.decide.fits.bootstrapped import BootstrappedFit
from pliant.laws import LAWS, fit, grid, simulate
from pliant.laws.extrapolation.of_fit import predict_runs

CONSTANTS = {"E": 1.82, "A": 480.0, "B": 2100.0, "alpha": 0.35, "beta": 0.37}
RUNS = {"N": np.array([1e7, 1e8, 1e9]), "D": np.array([2e8, 2e9, 2e10])}
COMPUTE = 6 * 1e9 * 2e10


def audited(error: float, beyond: float = 1.25, verdict: str = "holds") -> BootstrappedFit:
    audit = {"held_out": 4, "error": error, "beyond": beyond, "verdict": verdict, "reason": f"off by {error:.0%}", "ordered": []}
    return drawn("chinchilla", CONSTANTS, RUNS, {"A": 0.05, "B": 0.05}, audit=audit)


def grown(times: float) -> float:
    return (np.log(times) + 0.5) ** 0.54


def test_the_error_is_told_at_the_distance_asked() -> None:
    """Sixteen times the largest run: four times its size and tokens. The error grows with the distance, a quarter on top."""
    (told,) = audits([audited(0.01)], {"N": 4e9, "D": 8e10})
    assert told["asked"] == pytest.approx(16)
    assert told["expected_error"] == pytest.approx(1.25 * 0.01 * grown(16) / grown(1.25))
    assert told["graded"] == f"audited to 1.25 times, asked at 16 times: expected error {100 * told['expected_error']:.2g}%"
    assert times_beyond(audited(0.01), {"N": 1e9, "D": 1e9}) == 1
    assert "asked within the runs" in audits([audited(0.01)], {"N": 1e8, "D": 1e9})[0]["graded"]


def test_a_law_of_a_loss_is_asked_beyond_by_how_far_the_loss_is_lower() -> None:
    task = drawn("accuracy", {"chance": 0.25, "ceiling": 1.0, "slope": 3.0, "middle": 2.5}, {"L": np.array([2.0, 2.5, 3.0])})
    assert times_beyond(task, {"L": 1.6}) == pytest.approx(1.25)
    assert times_beyond(task, {"L": 2.2}) == 1
    assert times_beyond(task, {}) == 1


@pytest.mark.parametrize(
    ("error", "verdict", "compute", "expected"),
    [
        (0.0101, "holds", 10 * COMPUTE, "answered"),  # just over a hundredth is no cliff
        (0.05, "fails", 10 * COMPUTE, "refused"),
        (0.05, "fails", COMPUTE / 10, "answered"),  # inside the runs
        (0.05, "undetermined", 10 * COMPUTE, "undetermined"),
        (0.05, "undetermined", COMPUTE / 10, "answered"),
    ],
)
def test_only_what_would_mislead_is_withheld(error: float, verdict: str, compute: float, expected: str) -> None:
    found: Decision = size([audited(error, verdict=verdict)], compute, {})
    assert found.verdict == expected
    assert found.audit[0]["graded"].startswith("audited to 1.25 times, asked ")


def test_alternatives_and_comparisons_have_units_and_direction() -> None:
    found = size([audited(0.005)], COMPUTE, {}).json()
    assert [(other["unit"], other["better"]) for other in found["levers"]] == [("nats/token", "lower")]
    ranked = found["evidence"]["comparison"]
    assert (ranked["of"], ranked["unit"], ranked["better"]) == ("parameters", "nats/token", "lower")


def test_a_size_says_what_a_run_of_it_will_measure() -> None:
    """By the extrapolator, beside the law's own: which is which is told."""
    table: Any = simulate(LAWS["chinchilla"], grid(N=(1e7, 3e7, 1e8, 3e8), D=(3e8, 1e9, 3e9, 1e10)), CONSTANTS, 0.003, 0)
    found = size([fit("chinchilla", table, bootstrap=40, restarts=4)], 1e20, {})
    run = {"N": found.answer, "D": found.evidence["tokens"]}
    told = predict_runs(fit("chinchilla", table, bootstrap=0, restarts=4), run)
    assert found.evidence["figures"]["loss of a new run, extrapolated"] == pytest.approx((told.value[0], told.low[0], told.high[0]))
    assert found.evidence["predicted_by"].startswith("law chinchilla as fitted")
