"""Held-out audits: a fit of the smaller runs must predict the larger ones.

The largest runs are always held out once, and the audit travels with the fit. `ordered` repeats that along the scale:
fitted to the smallest half of the runs it predicts the next tenth, fitted to that too the one after, and so on.

Verdicts: `holds` when the mean error of the held-out runs is under 3%, or no more than noise and the uncertainty of the smaller
fit explain for 95% of tables; `fails` when it is more, so that an answer would mislead; `undetermined` when there are too few
runs to refit without the largest, or the smaller fit allows so much (25%) that hardly anything could fail. A verdict is coarse: what
the steps say is graded (`expected_error`, `graded`), at the distance that is asked. Percentages are of the measured value, or, where
residuals are differences, of the range that the target takes.
Cost: six more problems in the same batch.
What goes wrong: one largest run is one draw of noise; held-out runs of the same size as fitted ones are no extrapolation,
so whole groups of equal scale are held out.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pliant.laws.fitting.resample import noise_level
from pliant.laws.law import Array, Law

if TYPE_CHECKING:
    from torch import Tensor

    from pliant.laws.fitting.objective import FitObjective

Verdict = Literal["holds", "fails", "undetermined"]
NEGLIGIBLE, MISLEADING = 0.01, 0.03
"""An error below the first needs no explanation; one above the second, and above what noise explains, would mislead."""
GROWTH, TYPICAL = 0.54, 1.25
"""Errors grow with the distance x as (log x + 1/2)^0.54, learned on tables whose larger runs exist; they are understated by a quarter."""
UNSEEN = 1e-9
"""A parameter that moves the fitted rows by no more than this fraction of how it moves the held-out ones is unknown to them."""
USELESS = 0.25
LARGEST = 0.1
"""Share of the rows, at least, that is held out as the largest."""
DISTANCES = (1.0, 2.0, 5.0, 10.0, 20.0, 100.0)
FRACTIONS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True)
class AuditStep:
    """One fit to smaller runs and its error on the next larger ones."""

    fitted: int
    held_out: int
    beyond: float | None
    """How many times larger the largest held-out run is than the largest fitted one."""
    error: float | None
    """Mean error of the held-out runs: relative, or in the target's unit where residuals are differences."""


@dataclass(frozen=True)
class Audit:
    """What a fit without the largest runs says about them."""

    held_out: int
    """Rows."""
    error: float | None
    verdict: Verdict
    allowed: float | None
    """The error that noise and the smaller fit's uncertainty explain in 95% of tables, or 1%, whichever is more."""
    beyond: float | None
    reason: str
    ordered: tuple[AuditStep, ...] = ()

    def expected_error(self, times: float) -> float | None:
        """The error to expect of a run so many times larger than the largest, from the errors of the steps; None without any."""
        return expected_error(asdict(self), times)

    def to_json(self) -> dict[str, Any]:
        """Plain values, the three that scripts rely on first; `expected` is the error to expect by how many times larger a run is."""
        told = {f"{times:g}": self.expected_error(times) for times in DISTANCES}
        return _finite({**asdict(self), "expected": told})

    def graded(self, times: float, unit: str | None = None) -> str:
        """What was tried and what that says at the distance asked, in words; relative errors, or those in `unit`."""
        return graded(asdict(self), times, unit)

    @classmethod
    def from_json(cls, form: dict[str, Any]) -> Audit:
        """The reverse of `to_json`."""
        fields: dict[str, Any] = {**form, "ordered": tuple(AuditStep(**step) for step in form["ordered"])}
        return cls(**fields)


def expected_error(told: Mapping[str, Any], times: float) -> float | None:
    """`Audit.expected_error`, from an audit's plain values."""
    known = [(_grown(step["beyond"]), step["error"], step["held_out"]) for step in _tried(told)]
    if not known:
        return None
    level = sum(error / grown * math.sqrt(count) for grown, error, count in known) / sum(math.sqrt(count) for _, _, count in known)
    return TYPICAL * level * _grown(times)


def graded(told: Mapping[str, Any], times: float, unit: str | None = None) -> str:
    """`Audit.graded`, from an audit's plain values."""
    error = expected_error(told, times)
    if error is None:
        return "never tried beyond its runs"
    asked = f"at {times:.3g} times" if times > 1 else "within the runs"
    expected = f"{100 * error:.2g}%" if unit is None else f"{error:.2g} {unit}"
    return f"audited to {max(step['beyond'] for step in _tried(told)):.3g} times, asked {asked}: expected error {expected}"


def _tried(told: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    steps: list[Mapping[str, Any]] = [*told.get("ordered", ()), told]
    return [step for step in steps if step.get("beyond") and step.get("error") is not None and math.isfinite(step["error"])]


def _grown(times: float) -> float:
    return (math.log(max(times, 1.0)) + 0.5) ** GROWTH


def _finite(value: Any) -> Any:
    """The same plain value with None for what is infinite or no number, which JSON has no word for."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@dataclass(frozen=True)
class HeldOutSplit:
    """Rows to fit and rows to predict."""

    fitted: NDArray[np.bool_]
    held_out: NDArray[np.bool_]
    beyond: float


def scale_of(law: Law, columns: dict[str, Array]) -> Array:
    """How large each run is: the product of the law's scale columns; without any, the inverse of its first (a loss)."""
    if law.scale:
        return np.prod([columns[name] for name in law.scale], axis=0)
    return 1 / np.maximum(columns[law.column_names[0]], 1e-300)


def splits(scale: Array) -> list[HeldOutSplit]:
    """The ordered splits, then the one that holds out the largest. Runs of equal scale stay together."""
    ranked: Array = np.round(np.log(scale), 9).astype(np.float64)
    rows = len(ranked)
    levels = np.sort(ranked)
    made: list[HeldOutSplit] = []
    for low, high in itertools.pairwise(FRACTIONS):
        fitted = ranked <= levels[int(np.ceil(low * rows)) - 1]
        made.append(_split(ranked, fitted, ~fitted & (ranked <= levels[int(np.ceil(high * rows)) - 1])))
    count = max(1, round(LARGEST * rows))
    held = ranked >= levels[rows - count]
    made.append(_split(ranked, ~held, held))
    return made


def _split(ranked: Array, fitted: NDArray[np.bool_], held: NDArray[np.bool_]) -> HeldOutSplit:
    beyond = float(np.exp(ranked[held].max() - ranked[fitted].max())) if held.any() and fitted.any() else np.nan
    return HeldOutSplit(fitted, held, beyond)


def refit(objective: FitObjective, masks: NDArray[np.bool_], starts: Tensor) -> Tensor:
    """The best minimum of each mask's rows alone, (masks, k); every mask is fitted from every start."""
    import torch

    from pliant.laws.fitting.newton import FIRST_STEPS, minimise, polish

    masked = objective.varied(weights=objective.weights.numpy() * masks)
    rows = torch.arange(len(masks)).repeat_interleave(len(starts))
    ends = minimise(masked, starts.repeat(len(masks), 1), rows, steps=FIRST_STEPS)
    best = ends.value.reshape(len(masks), len(starts)).argmin(dim=1) + len(starts) * torch.arange(len(masks))
    return polish(masked, ends.theta[best], rows[best]).theta


def held_out_errors(objective: FitObjective, theta: Tensor) -> Array:
    """|predicted - measured| of every row under each fit (fits, rows); relative where residuals are logarithms."""
    fitted = objective.fitted(theta).numpy()
    measured = objective.targets.numpy()
    return np.abs(np.expm1(fitted - measured)) if objective.logs else np.abs(fitted - measured)


def audit(objective: FitObjective, scale: Array, starts: Tensor) -> Audit:
    """Refit without the largest runs and along the scale; see the module."""
    k = len(objective.coordinates)
    made = splits(scale)
    possible = [split for split in made if split.fitted.sum() > k and split.held_out.any()]
    if not possible or possible[-1] is not made[-1]:
        left = int(made[-1].fitted.sum())
        reason = f"without the largest runs {left} rows are left for {k} parameters"
        return Audit(int(made[-1].held_out.sum()), None, "undetermined", None, None, reason)
    theta = refit(objective, np.array([split.fitted for split in possible]), starts)
    errors = held_out_errors(objective, theta)
    steps = tuple(
        AuditStep(int(split.fitted.sum()), int(split.held_out.sum()), split.beyond, float(row[split.held_out].mean()))
        for split, row in zip(possible, errors, strict=True)
    )
    split, error = possible[-1], float(errors[-1][possible[-1].held_out].mean())
    unit = 1.0 if objective.logs else float(np.ptp(objective.targets.numpy())) or 1.0
    allowed = max(_allowed(objective, theta[-1:], split), NEGLIGIBLE * unit)
    verdict, reason = _verdict(error / unit, allowed / unit)
    return Audit(int(split.held_out.sum()), error, verdict, allowed, split.beyond, reason, steps[:-1])


def _verdict(error: float, allowed: float) -> tuple[Verdict, str]:
    if not np.isfinite(error):
        return "fails", "the law has no value at the largest runs"
    if allowed > 1:
        return "undetermined", "the smaller runs say next to nothing of the largest, as where only those repeat their data"
    if error <= NEGLIGIBLE:
        return "holds", f"the largest runs are predicted within {NEGLIGIBLE:.0%}"
    if allowed > USELESS:
        return "undetermined", f"the smaller runs would allow an error of {allowed:.0%}"
    if error <= allowed:
        return "holds", f"the error {error:.2%} is within what noise and the smaller fit allow ({allowed:.2%})"
    if error <= MISLEADING:
        return "holds", f"the error {error:.2%} is more than noise and the smaller fit allow ({allowed:.2%}): the form is off, if by little"
    return "fails", f"the error {error:.2%} is more than noise and the smaller fit allow ({allowed:.2%})"


def _allowed(objective: FitObjective, theta: Tensor, split: HeldOutSplit) -> float:
    """The 95th percentile of the mean absolute error of the held-out rows, were the law true.

    Infinite where they depend on a parameter that no fitted row depends on.
    """
    from scipy import stats

    fitted, jacobian = objective.jacobian(theta)
    residuals = (objective.targets - fitted)[0].numpy()[split.fitted]
    rows, k = len(residuals), jacobian.shape[1]
    noise = noise_level(residuals, k, objective.loss.corner)
    train, held = jacobian[0].numpy().T[split.fitted], jacobian[0].numpy().T[split.held_out]
    with np.errstate(over="ignore"):
        unit, moved = np.linalg.norm(train, axis=0) + 1e-300, np.linalg.norm(held, axis=0)
    if not (unit > UNSEEN * moved).all():
        return np.inf
    spread = held / unit @ np.linalg.pinv(train / unit, rcond=1e-9)  # how each fitted error moves each prediction
    efficiency = 1.0 if np.isinf(objective.loss.corner) else 2 / np.pi  # of a median against a mean
    common = np.sqrt(np.mean((spread**2).sum(axis=1)) / efficiency)
    quantile = float(stats.t.ppf(0.95, max(rows - k, 1)))
    single = noise * np.sqrt(2 / np.pi) * (1 + quantile * 0.75 / np.sqrt(len(held)))
    bound = float(np.hypot(single, quantile * noise * common))
    return float(np.expm1(min(bound, 10.0))) if objective.logs else bound
