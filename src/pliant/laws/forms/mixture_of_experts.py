"""Loss of mixtures of experts from active size, tokens and the number of experts.

    L = a Eh^delta N^(alpha + gamma ln Eh) + b Eh^omega D^(beta + zeta ln Eh) + c,     Eh as in `experts`

When to use it: dense and routed models over several sizes and token counts, to choose size, tokens and experts together.
What goes wrong: exponents carry their sign here (alpha, beta below zero); the optimum formula printed with the paper needs magnitudes, so
let `pliant decide` search. At one sparsity experts and size are collinear. Count N as the paper does (active, with embeddings) to use its
constants.
Source: Ludziejewski et al., arXiv 2502.05172.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pliant.laws.forms.chinchilla import TOKENS
from pliant.laws.forms.experts import ACTIVE, EXPERTS, LARGEST, START, effective
from pliant.laws.law import Column, Law, Parameter, power

if TYPE_CHECKING:
    from torch import Tensor


def mixture_of_experts(
    N: Tensor, D: Tensor, experts: Tensor, a: Tensor, alpha: Tensor, delta: Tensor, gamma: Tensor,
    b: Tensor, beta: Tensor, omega: Tensor, zeta: Tensor, c: Tensor, Es: Tensor, Em: Tensor,
) -> Tensor:  # fmt: skip
    """Size term, token term and floor, in nats/token."""
    import torch

    many = torch.log(effective(experts, Es, Em))
    size = a * torch.exp(delta * many) * power(N, alpha + gamma * many)
    return size + b * torch.exp(omega * many) * power(D, beta + zeta * many) + c


LAW = Law(
    name="mixture_of_experts",
    function=mixture_of_experts,
    columns=(ACTIVE, TOKENS, Column(EXPERTS.name, EXPERTS.unit, EXPERTS.description, default=1.0)),
    parameters=(
        Parameter("a", "size term of a one-parameter model", (30.0, 300.0)),
        Parameter("alpha", "size exponent", (-0.1, -0.2, -0.4), "identity"),
        Parameter("delta", "what experts take off the size term", (-0.3, 0.0), "identity"),
        Parameter("gamma", "how experts change the size exponent", (0.0,), "identity"),
        Parameter("b", "token term after one token", (30.0, 300.0)),
        Parameter("beta", "token exponent", (-0.1, -0.2, -0.4), "identity"),
        Parameter("omega", "what experts add to the token term", (0.0, 0.5), "identity"),
        Parameter("zeta", "how experts change the token exponent", (0.0,), "identity"),
        Parameter("c", "loss that neither size nor tokens remove", (0.5, 1.0, 2.0)),
        START,
        LARGEST,
    ),
    linear=("a", "b", "c"),
    fix={"Es": 2.0732, "Em": 290.45},
    scale=("N", "D"),
    source="Ludziejewski et al., arXiv 2502.05172",
    valid="active sizes up to about 1B with embeddings, 1 to 32 experts; annealed runs of one recipe",
    identifiability="Es and Em are held at the paper's values (freeing them needs 1 to 4 and 128 or more experts); "
    "gamma and zeta need four sizes and token counts at each number of experts",
    printed={
        "2502.05172": {
            **{"a": 35.91, "alpha": -0.1889, "delta": -0.2285, "gamma": 0.0098, "b": 35.98, "beta": -0.1775, "omega": 0.5529},
            **{"zeta": -0.0259, "c": 1.3637, "Es": 2.0732, "Em": 290.45},
        }
    },
)
