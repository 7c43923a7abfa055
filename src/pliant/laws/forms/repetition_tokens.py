"""Loss when tokens are seen more than once, of models no larger than their unique tokens warrant.

    L = E + A N^-alpha + B D'^-beta,     D' = U + U R_D* (1 - exp(-R / R_D*)),     R = D / U - 1 repetitions

When to use it: families of one size, or of sizes within what their unique tokens warrant, where `repetition` could not tell
R_N*: only tokens are discounted.
What goes wrong: as `repetition`; models too large for their unique tokens look like a smaller R_D*.
Source: Muennighoff et al., arXiv 2305.16264, eq. 5 alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pliant.laws.forms import repetition
from pliant.laws.forms.chinchilla import BASE, SIZE, TOKENS, chinchilla
from pliant.laws.law import Law

if TYPE_CHECKING:
    from torch import Tensor


def repetition_tokens(N: Tensor, D: Tensor, U: Tensor, E: Tensor, A: Tensor, B: Tensor, alpha: Tensor, beta: Tensor, R_D: Tensor) -> Tensor:
    """The chinchilla law of discounted tokens, in nats/token."""
    return chinchilla(N, repetition.discounted(U, D, R_D), E, A, B, alpha, beta)


LAW = Law(
    name="repetition_tokens",
    function=repetition_tokens,
    columns=(SIZE, TOKENS, repetition.UNIQUE),
    parameters=(*BASE, repetition.DECAY),
    linear=("E", "A", "B"),
    tie={"beta": "alpha"},
    scale=("N", "D"),
    source="Muennighoff et al., arXiv 2305.16264, eq. 5 alone",
    valid=repetition.LAW.valid + "; models no larger than their unique tokens warrant",
    identifiability="as `repetition`, without R_N",
)
