"""Loss whose size and token terms share one outer power: L = E + (A N^-alpha + B D^-beta)^k.

When to use it: as `chinchilla`, where its residuals bend along N at fixed D: k below one lets the shortages overlap. The best split of
a budget is that of `chinchilla` with the same four constants; k moves it only through the refit.
What goes wrong: k, E and the exponents make up for each other, so quote predictions rather than parameters.
Source: arXiv 2608.07222 and the released fits of xLSTM scaling laws (its "gamma").
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pliant.laws.forms.chinchilla import BASE, SIZE, TOKENS, chinchilla
from pliant.laws.law import Law, Parameter, power

if TYPE_CHECKING:
    from torch import Tensor


def coupled(N: Tensor, D: Tensor, E: Tensor, A: Tensor, B: Tensor, alpha: Tensor, beta: Tensor, k: Tensor) -> Tensor:
    """E + (A N^-alpha + B D^-beta)^k, in nats/token."""
    return E + power(chinchilla(N, D, 0 * E, A, B, alpha, beta), k)


LAW = Law(
    name="coupled",
    function=coupled,
    columns=(SIZE, TOKENS),
    parameters=(
        *(replace(parameter, low=1e-9, high=1e12) if parameter.name in "AB" else parameter for parameter in BASE[:3]),
        *(replace(parameter, starts=(0.3, 0.6, 1.0), low=0.0, high=5.0) for parameter in BASE[3:]),
        Parameter("k", "outer power: how far the two shortages overlap", (0.3, 0.5, 0.9), low=0.01, high=2.0),
    ),
    linear=("E",),
    levels={"A": ("N", "alpha"), "B": ("D", "beta")},
    scale=("N", "D"),
    source="arXiv 2608.07222",
    valid="dense models of one recipe, 200M to 6.4B parameters without embeddings in the table that it was compared on",
    identifiability="k, E and the exponents trade off along a ridge; predictions inside the table stand, E alone does not",
)
