"""Laws: functional forms, the fitter, audits. Usable on anybody's table; imports nothing of pliant but its ground floor.

Adding a law: see `pliant.laws.forms`, which holds the catalog.
"""

from __future__ import annotations

from pliant.laws.extrapolation.extrapolation import Extrapolation, extrapolate
from pliant.laws.fitting.comparison import LawComparison, compare
from pliant.laws.fitting.fit import fit
from pliant.laws.fitting.recalibrate import recalibrate
from pliant.laws.fitting.result import Fit
from pliant.laws.forms import FAMILIES, LAWS, law_named
from pliant.laws.forms.formula import formula
from pliant.laws.law import Column, Law, Parameter, power
from pliant.laws.tables.simulate import grid, simulate

__all__ = [
    "FAMILIES",
    "LAWS",
    "Column",
    "Extrapolation",
    "Fit",
    "Law",
    "LawComparison",
    "Parameter",
    "compare",
    "extrapolate",
    "fit",
    "formula",
    "grid",
    "law_named",
    "power",
    "recalibrate",
    "simulate",
]
