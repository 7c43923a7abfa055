"""Laws: functional forms, the fitter, audits. Usable on anybody's table; imports nothing of pliant but its ground floor.

Adding a law: one file with one function and one `Law`, its test, and one line in `LAWS`.
"""

from __future__ import annotations

from pliant.errors import PliantError
from pliant.laws.fitting.comparison import Comparison, compare
from pliant.laws.fitting.fit import fit
from pliant.laws.fitting.recalibrate import recalibrate
from pliant.laws.fitting.result import Fit
from pliant.laws.forms import (
    accuracy,
    chinchilla,
    noisy_channel,
    overtrained,
    precision,
    ptq,
    repetition,
    sensitivity,
    training_bits,
    utility,
)
from pliant.laws.law import Column, Law, Parameter, power
from pliant.laws.tables.simulate import grid, simulate
from pliant.spec import nearest

_LAWS: tuple[Law, ...] = (
    chinchilla.LAW,
    overtrained.LAW,
    overtrained.ERROR,
    training_bits.LAW,
    ptq.LAW,
    ptq.RIVAL,
    precision.LAW,
    repetition.LAW,
    repetition.TOKENS_ALONE,
    utility.LAW,
    utility.COMPAT,
    sensitivity.LAW,
    sensitivity.SATURATING,
    noisy_channel.LAW,
    accuracy.LAW,
)

LAWS: dict[str, Law] = {law.name: law for law in _LAWS}
"""Every law by its name."""


def law_named(name: str) -> Law:
    """The law called `name`. Raises PliantError with the nearest name there is."""
    if name not in LAWS:
        raise PliantError(f"unknown law {name!r}; {nearest(name, LAWS)}")
    return LAWS[name]


__all__ = [
    "LAWS",
    "Column",
    "Comparison",
    "Fit",
    "Law",
    "Parameter",
    "compare",
    "fit",
    "grid",
    "law_named",
    "power",
    "recalibrate",
    "simulate",
]
