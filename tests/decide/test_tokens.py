from __future__ import annotations

import numpy as np
import pytest
from drawn import HOLDS, KUMAR, drawn

from pliant.decide import critical_tokens, tokens
from pliant.decide.fits.bootstrapped import BootstrappedFit
from pliant.errors import PliantError
from pliant.laws import LAWS
from pliant.laws.forms.training_bits import PRINTED

BASE = {name: PRINTED[name] for name in ("E", "A", "B", "alpha", "beta")}
RISE = LAWS["ptq"].printed[KUMAR]
BUDGETS = np.geomspace(1e9, 1e12, 13)
RUNS = {"N": np.full(13, 30e6), "D": BUDGETS}


def fits(spread: float = 0.0, audit: dict[str, object] | None = None) -> list[BootstrappedFit]:
    verdict = audit or HOLDS
    return [
        drawn("chinchilla", BASE, RUNS, {"B": spread}, audit=verdict),
        drawn("ptq", RISE, {**RUNS, "Ppost": np.tile([3.0, 4.0, 5.0, 6.0], 4)[:13]}, {"C_T": spread, "gD": spread / 10}, audit=verdict),
    ]


@pytest.mark.parametrize(
    ("size", "bits", "printed"),
    [
        (30e6, 3, 5.3e9),
        (30e6, 4, 2.9e10),
        (30e6, 5, 1.6e11),
        (1e9, 3, 1.8e10),
        (1e9, 4, 9.6e10),
        (1e9, 5, 5.2e11),
        (8e9, 4, 2.0e11),
        (8e9, 5, 1.1e12),
        (8e9, 6, 5.7e12),
        (70e9, 4, 4.1e11),
    ],
)
def test_critical_tokens(size: float, bits: float, printed: float) -> None:
    assert f"{critical_tokens({**BASE, **RISE}, size, bits):.1e}" == f"{printed:.1e}"


@pytest.mark.parametrize("bits", [3.0, 4.0, 5.0])
def test_searched_optimum_is_the_critical_number_of_tokens(bits: float) -> None:
    """Also keeps the factor beta, missing in one printed form: without it D_crit would be 2.0 times as large."""
    found = tokens(fits(), {"N": 30e6, "Ppost": bits})
    assert found.answer == pytest.approx(critical_tokens({**BASE, **RISE}, 30e6, bits), rel=1e-4)
    without_beta = (1 / BASE["beta"]) ** (1 / (RISE["gD"] + BASE["beta"]))
    assert without_beta == pytest.approx(2.0, abs=0.03)


def test_interval_and_alternatives() -> None:
    decision = tokens(fits(0.05), {"N": 30e6, "Ppost": 4.0})
    assert decision.verdict == "answered"
    assert decision.low is not None and decision.high is not None  # noqa: PT018
    assert decision.low < decision.answer < decision.high
    assert decision.probability_best is not None
    assert decision.probability_best > 0.9
    assert decision.evidence["comparison"].runner_up in (pytest.approx(decision.answer / 2), pytest.approx(decision.answer * 2))
    assert 0 <= decision.evidence["comparison"].regret < 1e-3


def test_the_interval_holds_the_truth_of_noisier_fits() -> None:
    """With twice the spread the interval is about twice as wide, on the logarithm."""

    def width(spread: float) -> float:
        decision = tokens(fits(spread), {"N": 30e6, "Ppost": 4.0})
        assert decision.low is not None
        assert decision.high is not None
        return float(np.log(decision.high / decision.low))

    assert width(0.08) / width(0.04) == pytest.approx(2, rel=0.1)


def test_no_turning_point_inside_is_undetermined() -> None:
    decision = tokens(fits(0.05), {"N": 30e6, "Ppost": 6.0})  # D_crit is 8.4e11, at the end of the range
    assert decision.verdict == "undetermined"
    assert decision.high is None
    decision = tokens([fits(0.05)[0]], {"N": 30e6})
    assert decision.verdict == "undetermined"
    assert decision.answer is None
    assert "still falls at 1T" in decision.reason
    assert decision.next is not None
    assert decision.next["variance_removed"] > 0.2  # of what the last doubling does, which is what decides


def test_refuses_far_from_the_data_and_after_a_failed_audit() -> None:
    far = tokens(fits(), {"N": 8e9, "Ppost": 4.0})
    assert far.verdict == "refused"
    assert far.answer is None
    assert "266.7 times beyond" in far.reason
    few_bits = tokens(fits(), {"N": 30e6, "Ppost": 2.0})
    assert few_bits.verdict == "refused"
    assert "below the bits" in few_bits.reason
    failed = tokens(fits(audit={"verdict": "fails", "reason": "off by 9%"}), {"N": 30e6, "Ppost": 4.0}, most=2e12)
    assert failed.verdict == "refused"
    assert failed.reason == "the held-out audit of law chinchilla failed: off by 9%"


def test_a_failed_audit_is_of_larger_runs() -> None:
    """Inside what was measured the question is answered, and says how the audit went."""
    decision = tokens(fits(audit={"verdict": "fails", "reason": "off by 9%"}), {"N": 30e6, "Ppost": 4.0})
    assert decision.verdict == "answered"
    assert decision.audit[0]["verdict"] == "fails"


def test_an_undetermined_audit_leaves_the_answer_undetermined() -> None:
    decision = tokens(fits(0.05, {"verdict": "undetermined", "reason": "too few runs"}), {"N": 30e6, "Ppost": 4.0}, most=2e12)
    assert decision.verdict == "undetermined"
    assert decision.answer == pytest.approx(critical_tokens({**BASE, **RISE}, 30e6, 4.0), rel=1e-4)
    assert "too few runs" in decision.reason


def test_levers_say_what_a_milder_change_would_gain() -> None:
    decision = tokens(fits(), {"N": 30e6, "Ppost": 4.0})
    lever = decision.alternatives[0]
    assert lever["Ppost"] == 5.0
    assert lever["D"] == pytest.approx(critical_tokens({**BASE, **RISE}, 30e6, 5.0), rel=1e-4)
    assert lever["gain"] == pytest.approx(decision.evidence["loss"] - lever["loss"])
    assert lever["gain"] > 0
    assert any("annealing" in other["lever"] and other["gain"] is None for other in decision.alternatives)


def test_a_missing_value_is_one_line() -> None:
    with pytest.raises(PliantError, match="needs a value of 'Ppost'"):
        tokens(fits(), {"N": 30e6})


def test_json_has_the_agreed_keys() -> None:
    decision = tokens(fits(0.05), {"N": 30e6, "Ppost": 4.0}).json()
    assert {"question", "answer", "low", "high", "probability_best", "verdict", "audit", "levers", "evidence", "next"} <= set(decision)
