"""What held-out audits say of a decision, at the distance that it asks at.

Idea: a law that was off by so much on runs so many times larger will be off by more further out; an audit says by how much
(`laws.fitting.audit`). A decision shows that beside its answer. It is withheld only where the audit failed, the question lies beyond
the runs, and the error to expect there would mislead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pliant.decide.fits.bootstrapped import BootstrappedFit
from pliant.laws.fitting.audit import MISLEADING, expected_error, graded


def audits(fits: Sequence[BootstrappedFit], setting: Mapping[str, float]) -> list[dict[str, Any]]:
    """Of each fit: its audit, how many times larger than its runs the question is, the error to expect there, and that in words."""
    found: list[dict[str, Any]] = []
    for fit in fits:
        times = times_beyond(fit, setting)
        error, words = expected_error(fit.audit, times), graded(fit.audit, times, None if fit.logs else fit.law.unit)
        found.append({"law": fit.law.name, **fit.audit, "asked": times, "expected_error": error, "graded": words})
    return found


def times_beyond(fit: BootstrappedFit, setting: Mapping[str, float]) -> float:
    """How many times larger than the largest run a question is, by those of the law's scale columns that it gives; 1 inside."""
    names = [name for name in fit.law.scale or fit.law.column_names[:1] if name in fit.measured and name in setting]
    if not names:
        return 1.0
    asked, measured = (np.prod([np.asarray(values[name]) for name in names], axis=0) for values in (setting, fit.measured))
    return max(1.0, float(asked / measured.max() if fit.law.scale else measured.min() / asked))


def misleads(fit: BootstrappedFit, setting: Mapping[str, float]) -> bool:
    """Whether a failed audit expects an error at this distance that no answer should rest on."""
    if fit.audit.get("verdict") != "fails":
        return False
    error = expected_error(fit.audit, times_beyond(fit, setting))
    return error is None or error > MISLEADING * (1.0 if fit.logs or fit.target is None else float(np.ptp(fit.target)) or 1.0)
