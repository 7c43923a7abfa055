"""Loss of models that run several parallel streams and merge them: L = E + (A 1e9 / (N (1 + k ln P)))^alpha.

When to use it: models of several sizes trained with 1 to 8 streams on equally many tokens: how many parameters a stream is worth.
What goes wrong: tokens are no input; over less than a decade of N, E and alpha trade off.
Source: Chen et al., arXiv 2505.10475 (ParScale).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pliant.laws.forms.chinchilla import SIZE
from pliant.laws.law import Column, Law, Parameter, power

if TYPE_CHECKING:
    from torch import Tensor


def parallel(N: Tensor, P: Tensor, E: Tensor, A: Tensor, alpha: Tensor, k: Tensor) -> Tensor:
    """Floor and one falling power of the size that P streams act like, in nats/token."""
    import torch

    return E + power(1e9 * A / (N * (1 + k * torch.log(P))), alpha)


LAW = Law(
    name="parallel",
    function=parallel,
    columns=(SIZE, Column("P", "streams", "parallel streams; 1: an ordinary model", default=1.0)),
    parameters=(
        Parameter("E", "loss that size does not remove", (0.5, 1.0, 1.7)),
        Parameter("A", "size, in billions, whose reducible loss is one", (0.01, 0.1, 1.0)),
        Parameter("alpha", "how fast size helps", (0.1, 0.2, 0.5, 1.0), "identity", 0.0, 3.0),
        Parameter("k", "what e times the streams are worth, as a share of the size", (0.2, 0.4, 0.8)),
    ),
    linear=("E",),
    scale=("N",),
    source="Chen et al., arXiv 2505.10475",
    valid="0.5B to 4.4B parameters, 1 to 8 streams, 42B tokens",
    identifiability="E, A and alpha trade off within a decade of N; k needs runs of several streams at one size",
    printed={
        "2505.10475 Stack-V2-Python, refitted": {"E": 0.691, "A": 0.0113, "alpha": 0.189, "k": 0.394},
        "2505.10475 Pile, refitted": {"E": 1.289, "A": 0.198, "alpha": 0.196, "k": 0.334},
    },
)
