"""Loss of mixtures of experts from total size and the share of it that is not active.

    L = A N^-alpha + B D^-beta + c (1 - S)^-lam + d (1 - S)^-delta N^-gamma + E,     S = 1 - active / total

When to use it: families that vary total size and sparsity freely, to choose S at a budget.
What goes wrong: lam is below zero, so that c rises where fewer parameters are active; at one sparsity c, d and E are one number.
Source: Abnar et al., arXiv 2501.12370 (form; its constants were not at hand).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pliant.laws.forms.chinchilla import BASE, TOKENS, chinchilla
from pliant.laws.law import Column, Law, Parameter, power

if TYPE_CHECKING:
    from torch import Tensor


def sparsity(
    N: Tensor, D: Tensor, S: Tensor, E: Tensor, A: Tensor, B: Tensor, alpha: Tensor, beta: Tensor,
    c: Tensor, lam: Tensor, d: Tensor, delta: Tensor, gamma: Tensor,
) -> Tensor:  # fmt: skip
    """The chinchilla law of the total size with two terms of the active share, in nats/token. NaN for S of 1 or more."""
    import torch

    active = torch.where(S < 1, 1 - S, torch.nan)
    return chinchilla(N, D, E, A, B, alpha, beta) + c * power(active, -lam) + d * power(active, -delta) * power(N, -gamma)


LAW = Law(
    name="sparsity",
    function=sparsity,
    columns=(
        Column("N", "parameters", "total parameters; the same count in every row"),
        TOKENS,
        Column("S", "share", "share of the parameters that a token does not use; 0: dense", positive=False),
    ),
    parameters=(
        *BASE,
        Parameter("c", "size of the term of sparsity alone", (0.1, 1.0)),
        Parameter("lam", "its exponent", (-1.0, -0.3), "identity"),
        Parameter("d", "size of the term of sparsity and size", (1.0, 1e3)),
        Parameter("delta", "its exponent of the active share", (0.3,), "identity"),
        Parameter("gamma", "its exponent of size", (0.2, 0.5), "identity"),
    ),
    linear=("E", "A", "B", "c", "d"),
    scale=("N", "D"),
    source="Abnar et al., arXiv 2501.12370",
    valid="mixtures of experts of one recipe, sparsity 0 to 98%",
    identifiability="ten parameters: four sparsities at four sizes at least; c, E and d trade off where S hardly varies",
)
