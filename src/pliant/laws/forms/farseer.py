"""Loss whose token exponent, token factor and floor all change with size (Farseer).

    L = exp(a3 n^g + b3) + exp(a2 n^b + b2) D^-e,     e = exp(a1 n^a + b1),  n = N / 1e9

When to use it: a full grid of sizes and tokens with little noise, where `chinchilla` leaves a pattern of the product N D.
What goes wrong: each triple only sets a level, a slope and a curvature along ln N; they run far along ridges. Quote predictions, and
compare by held-out error: nine parameters need some fifty runs over more than a decade of both.
Source: arXiv 2506.10972.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pliant.laws.forms.chinchilla import SIZE, TOKENS
from pliant.laws.law import Law, Parameter, power

if TYPE_CHECKING:
    from torch import Tensor

UNIT = 1e9
"""Parameters in which n counts, so that the constants are near one."""


def farseer(
    N: Tensor, D: Tensor, a3: Tensor, g: Tensor, b3: Tensor, a2: Tensor, b: Tensor, b2: Tensor, a1: Tensor, a: Tensor, b1: Tensor
) -> Tensor:
    """Floor(N) + factor(N) D^-exponent(N), in nats/token."""
    import torch

    n = N / UNIT
    exponent = torch.exp(a1 * power(n, a) + b1)
    return torch.exp(a3 * power(n, g) + b3) + torch.exp(a2 * power(n, b) + b2 - exponent * torch.log(D))


LAW = Law(
    name="farseer",
    function=farseer,
    columns=(SIZE, TOKENS),
    parameters=(
        Parameter("a3", "how size moves the log of the floor", (-0.5, -0.1), "identity", -10.0, 10.0),
        Parameter("g", "its power", (0.2,), low=0.01, high=2.0),
        Parameter("b3", "log of the floor at its reference", (-0.6, 0.3), "identity", -10.0, 10.0),
        Parameter("a2", "how size moves the log of the token factor", (-0.5, 0.5), "identity", -50.0, 50.0),
        Parameter("b", "its power", (0.2,), low=0.01, high=2.0),
        Parameter("b2", "log of the token factor at its reference", (1.0, 5.0), "identity", -50.0, 50.0),
        Parameter("a1", "how size moves the log of the token exponent", (-0.1, 0.1), "identity", -10.0, 10.0),
        Parameter("a", "its power", (0.2,), low=0.01, high=2.0),
        Parameter("b1", "log of the token exponent at its reference", (-1.5, -1.0), "identity", -10.0, 10.0),
    ),
    scale=("N", "D"),
    source="arXiv 2506.10972",
    valid="dense models, 200M to 6.4B parameters without embeddings, 4 to 3,000 tokens per parameter",
    identifiability="within a triple only level, slope and curvature along ln N are determined; curvature needs two decades of N",
)
