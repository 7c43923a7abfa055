"""Loss of routed models at one number of tokens, from active size and the number of experts.

    ln L = a ln N + b ln Eh + c ln N ln Eh + d,     1/Eh = 1 / (experts - 1 + 1 / (1/Es - 1/Em)) + 1/Em

When to use it: dense and routed models trained on equally many tokens: how much many experts are worth at which size. `mixture_of_experts`
reads tokens too.
What goes wrong: at one number of tokens the size at which experts stop helping is an artefact; N must be counted alike (active per token).
Es shows from 1 to 4 experts, Em from 128 on, the interaction c over four sizes or more.
Source: Clark et al., arXiv 2202.01169.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pliant.laws.law import Column, Law, Parameter

if TYPE_CHECKING:
    from torch import Tensor

ACTIVE = Column("N", "parameters", "active parameters per token; with or without embeddings, but the same count in every row")
EXPERTS = Column("experts", "experts", "experts of each routed layer; 1: dense")
START = Parameter("Es", "what one expert counts as", (1.5, 2.5, 4.0), low=1.0)
LARGEST = Parameter("Em", "what infinitely many experts count as", (50.0, 300.0), low=1.0)


def effective(experts: Tensor, Es: Tensor, Em: Tensor) -> Tensor:
    """Experts after saturation at both ends: Es for one, Em for infinitely many. NaN unless Es < Em."""
    import torch

    gap = 1 / Es - 1 / Em
    saturated = 1 / (1 / (experts - 1 + 1 / gap) + 1 / Em)
    return torch.where(gap > 0, saturated, torch.nan)


def experts(N: Tensor, experts: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, Es: Tensor, Em: Tensor) -> Tensor:
    """exp(a ln N + b ln Eh + c ln N ln Eh + d), in nats/token."""
    import torch

    size, many = torch.log(N), torch.log(effective(experts, Es, Em))
    return torch.exp(a * size + b * many + c * size * many + d)


LAW = Law(
    name="experts",
    function=experts,
    columns=(ACTIVE, EXPERTS),
    parameters=(
        Parameter("a", "slope along ln N", (-0.08,), "identity"),
        Parameter("b", "slope along ln Eh", (-0.12,), "identity"),
        Parameter("c", "how much less many experts gain in a larger model", (0.0, 0.005), "identity"),
        Parameter("d", "log loss of a one-parameter model", (2.6,), "identity"),
        START,
        LARGEST,
    ),
    scale=("N",),
    source="Clark et al., arXiv 2202.01169",
    valid="15M to 1.3B active parameters, 1 to 512 experts, one expert per token, 130B tokens",
    identifiability="Es needs few experts, Em many (128 or more), c four sizes; at one number of experts b, c and d are not told apart",
    printed={
        "2202.01169 S-Base, refitted": {"a": -0.0838, "b": -0.1234, "c": 0.00453, "d": 2.583, "Es": 2.4, "Em": 218.0},
        "2202.01169 RL-R, refitted": {"a": -0.0835, "b": -0.1279, "c": 0.00508, "d": 2.566, "Es": 2.0, "Em": 424.0},
        "2202.01169 Hash, refitted": {"a": -0.0887, "b": -0.1464, "c": 0.00583, "d": 2.701, "Es": 5.0, "Em": 369.0},
    },
)
