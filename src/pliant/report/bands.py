"""How far the error of a point reaches: Student's t, with the degrees of freedom that the error really has.

Errors that are estimated from two seeds are themselves uncertain by a factor of two or more; a normal quantile would hide
that, and draw bands that contradict the verdicts, which count it (`pliant.decide.curves.inflection`).
"""

from __future__ import annotations

from pliant.decide.curves.checkpoint import CheckpointDecision
from pliant.decide.curves.evidence import PointEvidence
from pliant.statistics import student

BELOW = "the lower edge reaches below zero"


def reach(found: CheckpointDecision, point: PointEvidence, error: str) -> float:
    """Half the 90% interval of a point of a decision's curve, given which of its standard errors; 0 where that is not known.

    The error is taken to have the degrees of freedom of its scarcest source, which errs on the wide side.
    """
    stderr = getattr(point, error)
    return 0.0 if stderr is None else student(_freedom(found, point, error == "paired_stderr")) * stderr


def _freedom(found: CheckpointDecision, point: PointEvidence, rough: bool) -> float:
    """Of the sources that `Curve.from_samples` and, where `rough`, `inflection` put into the error."""
    evidence, curve = found.evidence, found.evidence.curve
    if max(other.seeds for other in curve) > 1:
        seen = max(point.seeds - 1, 1)
    elif evidence.draws >= 4:
        seen = evidence.draws // 2 - 1  # draws may come in mirrored pairs
    else:
        seen = evidence.documents - 1
    if not rough or evidence.roughness == 0:
        return seen
    levels = len({other.fit for other in curve})
    return min(seen, max(2, len(curve) - levels))


def told(value: float, reach: float) -> str:
    """A change and its interval as a tooltip says them beside a logarithmic axis, which knows no zero."""
    return f"{value:+z.4f} ± {reach:.4f}" + (f"; {BELOW}" if reach >= value else "")
