"""Printed constants on one's own runs: keep the exponents, refit the levels.

A published constant was fitted to somebody's data, tokenizer and recipe. It says something about other runs only after the
parameters that set the level were fitted to a few of them: `free=("C_T", "E")` for the precision laws, `("E", "A", "B")` for
chinchilla. What the constants contribute is then the shape alone, and the audit says whether that shape holds here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pliant.errors import PliantError
from pliant.laws.fitting.fit import fit
from pliant.laws.fitting.result import Fit
from pliant.laws.forms import law_named
from pliant.laws.law import Law
from pliant.spec import nearest


def recalibrate(law: Law | str, constants: Mapping[str, float] | str, table: Any, free: Sequence[str], **options: Any) -> Fit:
    """Fit only the parameters `free`; all others keep `constants` (values, or the name of a printed set of the law).

    `options` are those of `fit`. Raises PliantError for an unknown set or parameter, and for a constant that is missing.
    """
    law = law_named(law)
    if isinstance(constants, str):
        if constants not in law.printed:
            raise PliantError(f"law {law.name} has no printed constants {constants!r}; {nearest(constants, law.printed)}")
        constants = law.printed[constants]
    for name in law.parameter_names:
        if name not in free and name not in constants:
            raise PliantError(f"law {law.name}: {name!r} is neither among the constants nor free; add it to one of them")
    kept = {name: constants[name] for name in law.parameter_names if name not in free}
    loosened = dict.fromkeys(name for name in free if name in law.fix)
    return fit(law, table, fix={**kept, **loosened}, tie=dict.fromkeys(name for name in free if name in law.tie), **options)
