"""What a fit says of itself: as plain values for scripts, and as a few lines for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pliant.laws.fitting.fitted import FittedLaw


def summary(fit: FittedLaw, confidence: float = 0.9) -> dict[str, Any]:
    """Plain values: law, n, objective, parameters with intervals, starts, audit, and what there is to be wary of.

    A parameter the data do not determine has no value; `flat` says what is determined instead.
    """
    return {
        "law": fit.law.name,
        "n": len(fit.target),
        "objective": fit.objective,
        "parameters": {name: _parameter(fit, name, confidence) for name in fit.parameters},
        "starts": vars(fit.restarts),
        "audit": fit.audit.to_json(),
        "flat": list(fit.unidentifiable.sentences),
        "noise": fit.noise,
        "loss": fit.loss.name,
        "residual": fit.residual,
        "unit": fit.law.unit,
        "bootstrap": f"{fit.bootstrap.kind}:{fit.bootstrap.samples}",
        "remarks": list(fit.remarks),
    }


def text(fit: FittedLaw) -> str:
    """A line for the fit, one a parameter with its 90% interval, one for each combination that alone is determined."""
    lines = [f"{fit.law.name}: {len(fit.target)} runs, objective {fit.objective:.6g}, audit {fit.audit.verdict}"]
    width = max(map(len, fit.parameters))
    lines += [f"  {name:{width}}  {_written(_parameter(fit, name, 0.9))}" for name in fit.parameters]
    return "\n".join([*lines, *(f"  unidentifiable: {sentence}" for sentence in fit.unidentifiable.sentences)])


def _parameter(fit: FittedLaw, name: str, confidence: float) -> dict[str, Any]:
    value = fit.parameters[name]
    if name in fit.coordinates.fixed:
        return {"value": value, "low": value, "high": value, "fixed": True}
    if fit.undetermined(name):
        return {"value": None, "low": None, "high": None}
    low, high = fit.interval(name, confidence) if len(fit.bootstrap_samples) else (None, None)
    told: dict[str, Any] = {"value": value, "low": low, "high": high}
    return told | ({"tied_to": fit.coordinates.tied[name]} if name in fit.coordinates.tied else {})


def _written(parameter: Mapping[str, Any]) -> str:
    """One parameter of a summary as text."""
    if parameter["value"] is None:
        return "undetermined"
    interval = "" if parameter["low"] is None or parameter.get("fixed") else f" [{parameter['low']:.5g}, {parameter['high']:.5g}]"
    note = " (fixed)" if parameter.get("fixed") else f" (= {parameter['tied_to']})" if "tied_to" in parameter else ""
    return f"{parameter['value']:.5g}{interval}{note}"
