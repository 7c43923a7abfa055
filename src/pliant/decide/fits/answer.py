"""What a decision is: an answer with its interval, how sure it is, what it rests on, and what else could be done.

Two things stand before every answer beyond the measured runs. A fit whose held-out audit failed gives none (`refused`) where the
error to expect would mislead (`audits`), and a question further away than `FARTHEST` gets none either. Where the audit is not sure, or
the bootstrap samples disagree about the kind of answer, the verdict is `undetermined`. Audits are of larger runs: questions
inside the measured ranges are answered. In all cases `next` names the run that would help most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pliant.decide.fits.audits import audits, misleads
from pliant.decide.fits.bootstrapped import BootstrappedFit
from pliant.decide.fits.next_run import next_run
from pliant.numbers import format_count
from pliant.statistics import Array, percentile_interval

Verdict = Literal["answered", "undetermined", "refused"]

FARTHEST = 10.0
"""How many times beyond the measured range of a column a question may lie. Bits may not lie below it at all."""

CONFIDENCE = 0.9


@dataclass(frozen=True)
class Decision:
    """The answer to one question; `json()` is what scripts read."""

    question: str
    verdict: Verdict
    reason: str
    """Why this verdict, in one sentence for people."""
    answer: Any = None
    low: float | None = None
    """Ends of the 90% interval of the answer; None: not bounded by the data on that side, or not a number."""
    high: float | None = None
    probability_best: float | None = None
    """Fraction of bootstrap samples in which the answer beats every other that was compared."""
    audit: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    alternatives: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Other things that could be changed, with what they would do where the fits can say; `levers` in JSON. Each has its `unit`, and
    which values are `better`; a gain above zero is for the better."""
    evidence: dict[str, Any] = field(default_factory=dict[str, Any])
    next: dict[str, Any] | None = None
    """The affordable run that would narrow this decision most."""
    warnings: list[str] = field(default_factory=list[str])
    """What the answer holds for, and what it must not be taken for."""

    @property
    def name(self) -> str:
        """What it is about."""
        return self.question

    def json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"levers" if name == "alternatives" else name: value for name, value in asdict(self).items()}

    def sentence(self) -> str:
        """The answer in one sentence."""
        between = (
            f" (90% interval {format_count(self.low)} to {format_count(self.high)})"
            if self.low is not None and self.high is not None
            else ""
        )
        return f"{self.verdict}: {self.reason}{between if self.answer is not None else ''}"


def conclude(
    question: str,
    fits: Sequence[BootstrappedFit],
    setting: Mapping[str, float],
    narrow: Array,
    affordable: float | None,
    evidence: Mapping[str, Any],
    **answer: Any,
) -> Decision:
    """The decision with fields `answer`, or its refusal where these fits must not answer at `setting`.

    `narrow` (samples,) is the quantity whose spread the next run should shrink; `affordable` what that run may cost (FLOPs).
    """
    shared: dict[str, Any] = {
        "question": question,
        "audit": audits(fits, setting),
        "evidence": {**evidence, "distance": distances(fits, setting), "predicted_by": as_fitted(fits)},
        "next": next_run(fits, narrow, affordable),
        "warnings": warnings_of(fits),
    }
    if reason := obstacle(fits, setting):
        return Decision(verdict="refused", reason=reason, **shared)
    if answer["verdict"] == "answered" and (why := doubt(fits, setting)):
        answer = {**answer, "verdict": "undetermined", "reason": f"{answer['reason']}, but {why}"}
    told = {"unit": fits[0].law.unit, "better": "lower"}
    return Decision(**{**answer, "alternatives": [{**other, **told} for other in answer.get("alternatives", ())]}, **shared)


def as_fitted(fits: Sequence[BootstrappedFit]) -> str:
    """What predictions of decisions rest on, in words."""
    names = " + ".join(fit.law.name for fit in fits[: 1 if fits[0].group else None])
    return f"law {names} as fitted: intervals are of its parameters, without one run's noise and the form's error (see `pliant predict`)"


def doubt(fits: Sequence[BootstrappedFit], setting: Mapping[str, float]) -> str | None:
    """Why an answer beyond the runs is not sure: an audit that does not hold. None: no doubt."""
    for fit in fits:
        if fit.audit.get("verdict") != "holds" and not inside(fit, setting):
            said = "failed" if fit.audit.get("verdict") == "fails" else "is undetermined"
            return f"the held-out audit of law {fit.law.name} {said}: {fit.audit.get('reason')}"
    return None


def inside(fit: BootstrappedFit, setting: Mapping[str, float]) -> bool:
    """Whether all that is asked for lies within what the fit measured."""
    return bool(setting) and all(distance <= 1 for distance in distances([fit], setting).values())


def warnings_of(fits: Sequence[BootstrappedFit]) -> list[str]:
    """What the fits say of their runs' learning rates, each sentence once."""
    return list(dict.fromkeys(fit.schedule for fit in fits if fit.schedule))


def distances(fits: Sequence[BootstrappedFit], setting: Mapping[str, float]) -> dict[str, float]:
    """How many times beyond the measured range each asked-for value lies; 1 inside. The worst of the fits counts."""
    found: dict[str, float] = {}
    for fit in fits:
        for name in fit.law.column_names:
            if name in setting and name in fit.measured:
                low, high = fit.range(name)
                found[name] = max(found.get(name, 1.0), setting[name] / high, low / setting[name])
    return found


def obstacle(fits: Sequence[BootstrappedFit], setting: Mapping[str, float]) -> str | None:
    """Why no answer may be given: an audit that failed by too much, or a question too far from the data. None: nothing in the way."""
    for fit in fits:
        if misleads(fit, setting) and not inside(fit, setting):
            return f"the held-out audit of law {fit.law.name} failed: {fit.audit.get('reason')}"
        for column in fit.law.columns:
            if column.unit == "bits" and column.name in fit.measured and setting.get(column.name, np.inf) < fit.range(column.name)[0]:
                return f"{column.name} = {setting[column.name]:g} lies below the bits that law {fit.law.name} was measured at"
    for name, distance in distances(fits, setting).items():
        if distance > FARTHEST:
            return f"{name} = {setting[name]:.3g} lies {distance:.4g} times beyond the measured range; {FARTHEST:g} is the most allowed"
    return None


def interval(values: Array, low: float | None = None, high: float | None = None) -> tuple[float | None, float | None]:
    """The central 90% of the bootstrap samples (number 0, the fit itself, left out); None for an end that touches the searched range."""
    finite = values[1:][np.isfinite(values[1:])]
    if not len(finite):
        return None, None
    left, right = percentile_interval(finite, CONFIDENCE)
    return (None if low is not None and left <= low * 1.001 else left), (None if high is not None and right >= high / 1.001 else right)


@dataclass(frozen=True)
class RankedAlternatives:
    """A choice among alternatives, the same for every bootstrap sample."""

    alternatives: list[Any]
    values: list[float]
    """Of the fit itself; infinite where an alternative is not possible."""
    best: Any
    probability_best: float
    runner_up: Any
    """The second best, or `best` itself when there is no other."""
    probability_runner_up_better: float
    regret: float
    """Mean over bootstrap samples of what `best` gives away against each sample's own best."""
    of: str
    """What the alternatives are: parameters, tokens, bits ..."""
    unit: str
    """Of values and regret."""
    better: Literal["lower"] = "lower"


def compare(values: Array, alternatives: Sequence[Any], of: str, unit: str) -> RankedAlternatives:
    """Of `values` (samples, alternatives): the fit's own best, and how often the bootstrap samples agree. NaN: not possible."""
    filled = np.where(np.isnan(values), np.inf, values)
    order = np.argsort(filled[0])
    best, second = int(order[0]), int(order[min(1, len(order) - 1)])
    samples = filled[1:][np.isfinite(filled[1:, best])]
    lowest = samples.min(axis=1)
    return RankedAlternatives(
        alternatives=list(alternatives),
        values=filled[0].tolist(),
        best=alternatives[best],
        probability_best=_mean(samples[:, best] <= lowest),
        runner_up=alternatives[second],
        probability_runner_up_better=_mean(samples[:, second] < samples[:, best]),
        regret=_mean(samples[:, best] - lowest),
        of=of,
        unit=unit,
    )


def _mean(values: NDArray[Any]) -> float:
    """NaN for nothing: without bootstrap samples nothing is known about how sure an answer is."""
    return float(values.mean()) if len(values) else float("nan")
