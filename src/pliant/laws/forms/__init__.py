"""Functional forms, one law a file; a file's `LAW` declares the formula beside it.

Adding a law: one file here, its test, and its name below. A law of another package is named as an entry point in `pliant.laws`.
"""

from __future__ import annotations

from pliant.laws.forms import (
    accuracy,
    chinchilla,
    error,
    noisy_channel,
    overtrained,
    precision,
    ptq,
    qid,
    repetition,
    repetition_tokens,
    sensitivity,
    sensitivity_saturating,
    training_bits,
    utility,
    utility_compat,
)
from pliant.laws.law import Law
from pliant.spec import Registry

LAWS: Registry[Law] = Registry(
    "law",
    {
        form.LAW.name: form.LAW
        for form in (
            chinchilla,
            overtrained,
            error,
            training_bits,
            ptq,
            qid,
            precision,
            repetition,
            repetition_tokens,
            utility,
            utility_compat,
            sensitivity,
            sensitivity_saturating,
            noisy_channel,
            accuracy,
        )
    },
)
"""Every law by its name."""


def law_named(law: Law | str) -> Law:
    """The law of that name; a law stands for itself. Raises PliantError with the nearest name there is."""
    return LAWS[law] if isinstance(law, str) else law
