"""Loss when tokens are seen more than once: repeated tokens and excess parameters count for less.

    L = E + A N'^-alpha + B D'^-beta
    D' = U + U R_D* (1 - exp(-R / R_D*)),               U = unique tokens,  R = D / U - 1 repetitions
    N' = U_N + U_N R_N* (1 - exp(-R_N / R_N*)),         R_N = N / U_N - 1,  U_N = min(N, compute-optimal size for U)

When to use it: fixed corpora smaller than the token budget. The k-th repetition is worth exp(-k / R_D*) of fresh text;
its half-life is R_D* ln 2 epochs, and no number of epochs is worth more than U (1 + R_D*) fresh tokens.
What goes wrong: the form can only flatten, never rise, so it is blind to overfitting after tens of epochs (leave diverged
runs out by a stated rule). R_N* = 1e9 switches the excess-parameter term off.
Source: Muennighoff et al., arXiv 2305.16264, eq. 5 and 6; its constants were fitted with dropout and weight decay 0.1.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pliant.laws.forms.chinchilla import BASE, SIZE, TOKENS, chinchilla
from pliant.laws.law import Column, Law, Parameter

if TYPE_CHECKING:
    from torch import Tensor


def discounted(unique: Tensor, total: Tensor, decay: Tensor) -> Tensor:
    """U + U R* (1 - exp(-R / R*)) with R = total / U - 1: what `total` is worth when only `unique` of it is fresh."""
    import torch

    repetitions = torch.clamp(total / unique - 1, min=0)
    return torch.minimum(unique, total) * (1 - decay * torch.expm1(-repetitions / decay))


def optimal_size(D: Tensor, A: Tensor, B: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """The N at which D tokens are compute-optimal: alpha A N^-alpha = beta B D^-beta."""
    import torch

    return torch.exp((torch.log(alpha * A / (beta * B)) + beta * torch.log(D)) / alpha)


def repetition(
    N: Tensor, D: Tensor, U: Tensor,
    E: Tensor, A: Tensor, B: Tensor, alpha: Tensor, beta: Tensor, R_D: Tensor, R_N: Tensor,
) -> Tensor:  # fmt: skip
    """The chinchilla law of discounted parameters and discounted tokens, in nats/token."""
    import torch

    wanted = torch.minimum(N, optimal_size(torch.minimum(U, D), A, B, alpha, beta))
    return chinchilla(discounted(wanted, N, R_N), discounted(U, D, R_D), E, A, B, alpha, beta)


STARTS = {"E": (0.5, 1.0, 2.0), "A": (0.1, 0.5, 2.0), "B": (0.1, 0.5, 2.0), "alpha": (0.2, 0.4, 0.8), "beta": (0.2, 0.4, 0.8)}
"""Fewer than chinchilla's own: A, B and the exponents also set the fitting size here, so no start can be solved for. Of A and B
the starts are what their terms are at the table's middle, in nats."""
SHAPE = tuple(replace(parameter, starts=STARTS[parameter.name]) for parameter in BASE)
UNIQUE = Column("U", "tokens", "unique training tokens; D / U is the number of epochs")
DECAY = Parameter("R_D", "epochs after which a repetition is worth 1/e", (2.0, 8.0, 30.0))

LAW = Law(
    name="repetition",
    function=repetition,
    columns=(SIZE, TOKENS, UNIQUE),
    parameters=(*SHAPE, DECAY, Parameter("R_N", "multiples of the fitting size after which excess parameters are worth 1/e", (1.0, 6.0))),
    linear=("E",),
    levels={"A": ("N", "alpha"), "B": ("D", "beta")},
    tie={"beta": "alpha"},
    scale=("N", "D"),
    source="Muennighoff et al., arXiv 2305.16264, eq. 5 and 6",
    valid="7M to 8.7B parameters, 100M to 178B tokens, up to a few tens of epochs; one data source",
    identifiability="R_D needs runs beyond about R_D epochs; R_N needs models larger than their unique tokens warrant",
    printed={"2305.16264": {"E": 1.87, "A": 521.0, "B": 1488.0, "alpha": 0.353, "beta": 0.353, "R_D": 15.387756, "R_N": 5.309743}},
)
