"""Functional forms, one law a file; a file's `LAW` declares the formula beside it.

Adding a law: one file here, its test, and its name below. A law of another package is named as an entry point in `pliant.laws`.
A family of laws, whose columns the user names, is one file with a function that reads them: see `mixing`.
"""

from __future__ import annotations

from collections.abc import Callable

from pliant.errors import PliantError
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
from pliant.laws.forms.formula import read_formula
from pliant.laws.forms.mixing import read_mixing
from pliant.laws.forms.mixing_additive import read_mixing_additive
from pliant.laws.forms.mixing_linear import read_mixing_linear
from pliant.laws.law import Law
from pliant.spec import Registry, nearest

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


FAMILIES: dict[str, Callable[[str], Law]] = {
    "mixing": read_mixing,
    "mixing_additive": read_mixing_additive,
    "mixing_linear": read_mixing_linear,
    "formula": read_formula,
}
"""Laws whose columns the user names, `mixing(web, code)`: what makes one from the text after the bracket."""


def law_named(law: Law | str) -> Law:
    """The law of that name, or of that name and those columns, `mixing(web, code)`; a law stands for itself.

    Raises PliantError with the nearest name there is.
    """
    if not isinstance(law, str):
        return law
    family, bracket, rest = law.partition("(")
    if bracket and family.strip() not in FAMILIES:
        raise PliantError(f"no law {family.strip()[:60]!r} takes columns; {nearest(family.strip(), FAMILIES)}")
    if bracket:
        return FAMILIES[family.strip()](rest)
    if family in FAMILIES:
        raise PliantError(f"law {family} wants to know its columns: {family}(COLUMN, COLUMN, ...)")
    return LAWS[law]
