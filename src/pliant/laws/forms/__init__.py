"""Functional forms, one law a file; a file's `LAW` declares the formula beside it.

Adding a law: one file here, its test, and its name below. A law of another package is named as an entry point in `pliant.laws`.
"""

from __future__ import annotations

from pliant.laws.forms import (
    accuracy,
    bimix,
    broken_power,
    chinchilla,
    coupled,
    error,
    experts,
    farseer,
    granularity,
    mixture_of_experts,
    momentum,
    multi_power,
    noisy_channel,
    observational,
    overtrained,
    parallel,
    precision,
    ptq,
    qid,
    repetition,
    repetition_tokens,
    sensitivity,
    sensitivity_saturating,
    sparsity,
    step_law,
    task_ladder,
    training_bits,
    utility,
    utility_compat,
    vocabulary,
    width_depth,
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
            task_ladder,
            momentum,
            multi_power,
            bimix,
            experts,
            mixture_of_experts,
            granularity,
            sparsity,
            step_law,
            coupled,
            farseer,
            width_depth,
            vocabulary,
            parallel,
            broken_power,
            observational,
        )
    },
)
"""Every law by its name."""


def law_named(law: Law | str) -> Law:
    """The law of that name; a law stands for itself. Raises PliantError with the nearest name there is."""
    return LAWS[law] if isinstance(law, str) else law
