"""Loss of fine-grained mixtures of experts: smaller, more numerous experts at the same active size.

    L = c + (g G^-gamma + a) N^-alpha + b D^-beta,     G = d_ff / d_expert

When to use it: runs that vary how finely experts are cut, to choose G together with size and tokens.
What goes wrong: the law alone makes G grow for ever; what routing costs (it grows with width, experts and G) must be added to the compute
before anything is chosen. Without runs at G = 1, g and a are not told apart.
Source: Krajewski et al., arXiv 2402.07871.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pliant.laws.forms.chinchilla import BASE, TOKENS
from pliant.laws.forms.experts import ACTIVE
from pliant.laws.law import Column, Law, Parameter, power

if TYPE_CHECKING:
    from torch import Tensor


def granularity(
    N: Tensor, D: Tensor, G: Tensor, E: Tensor, A: Tensor, B: Tensor, alpha: Tensor, beta: Tensor, g: Tensor, gamma: Tensor
) -> Tensor:
    """E + (A + g G^-gamma) N^-alpha + B D^-beta, in nats/token."""
    return E + (A + g * power(G, -gamma)) * power(N, -alpha) + B * power(D, -beta)


LAW = Law(
    name="granularity",
    function=granularity,
    columns=(ACTIVE, TOKENS, Column("G", "times", "how many times narrower an expert is than the dense layer; 1: not cut")),
    parameters=(
        *BASE,
        Parameter("g", "part of the size factor that cutting removes", (1.0, 1.5e2, 2.2e4, 3.3e6)),
        Parameter("gamma", "how fast cutting removes it", (0.3, 0.6, 1.0)),
    ),
    linear=("E", "A", "B", "g"),
    scale=("N", "D"),
    source="Krajewski et al., arXiv 2402.07871",
    valid="129M to 3.7B total parameters, 64 experts at G = 1, granularity 1 to 16",
    identifiability="g and A need G from 1 to 8 or more; gamma three values of G; the rest as in `chinchilla`",
)
