"""Loss as a bowl around the best learning rate and batch size, which move with size and tokens (Step Law).

    L = (E + A N^-alpha + B D^-beta) exp(u x^2 + v y^2 + w x y),     x = ln(lr / lr*), y = ln(batch / batch*)
    lr* = rate N^m D^n,     batch* = size D^k  (tokens)

When to use it: sweeps of learning rate and batch size at several sizes and token counts, to set both for a larger run.
What goes wrong: optima on the edge of a sweep; far from the bottom the loss is no parabola, so leave out runs that cost more than 5%
(`--where`). The sample is the cells (N, D), not the runs: name the cell as `clusters`. N is counted without vocabulary. One recipe only:
another schedule or weight decay has another optimum.
Source: Li et al., arXiv 2503.04715, whose rule fits the best run of each cell; the bowl uses every run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pliant.laws.forms.chinchilla import BASE, TOKENS, chinchilla
from pliant.laws.law import Column, Law, Parameter

if TYPE_CHECKING:
    from torch import Tensor


def step_law(
    N: Tensor, D: Tensor, lr: Tensor, batch: Tensor, E: Tensor, A: Tensor, B: Tensor, alpha: Tensor, beta: Tensor,
    rate: Tensor, m: Tensor, n: Tensor, size: Tensor, k: Tensor, u: Tensor, v: Tensor, w: Tensor,
) -> Tensor:  # fmt: skip
    """The chinchilla law times what a learning rate and batch off the optimum cost, in nats/token."""
    import torch

    x = torch.log(lr) - (torch.log(rate) + m * torch.log(N) + n * torch.log(D))
    y = torch.log(batch) - (torch.log(size) + k * torch.log(D))
    return chinchilla(N, D, E, A, B, alpha, beta) * torch.exp(u * x**2 + v * y**2 + w * x * y)


def best(parameters: dict[str, float], N: float, D: float) -> tuple[float, float]:
    """The best learning rate and batch (tokens) at N parameters and D tokens."""
    return parameters["rate"] * N ** parameters["m"] * D ** parameters["n"], parameters["size"] * D ** parameters["k"]


LAW = Law(
    name="step_law",
    function=step_law,
    columns=(
        Column("N", "parameters", "model size without embeddings"),
        TOKENS,
        Column("lr", "rate", "peak learning rate"),
        Column("batch", "tokens", "tokens of one batch (sequences times their length)"),
    ),
    parameters=(
        *BASE,
        Parameter("rate", "factor of the best learning rate", (1.79,)),
        Parameter("m", "how the best rate moves with size", (-0.7, -0.3), "identity"),
        Parameter("n", "how the best rate moves with tokens", (0.3, 0.0), "identity"),
        Parameter("size", "factor of the best batch, tokens", (0.58,)),
        Parameter("k", "how the best batch moves with tokens", (0.57, 0.4), "identity"),
        Parameter("u", "what a rate e times off costs, relatively", (0.007,)),
        Parameter("v", "what a batch e times off costs, relatively", (0.006,)),
        Parameter("w", "how far a larger batch wants a larger rate (below zero)", (-0.005,), "identity"),
    ),
    linear=("E", "A", "B"),
    scale=("N", "D"),
    source="Li et al., arXiv 2503.04715",
    valid="dense models of 60M to 1B parameters without vocabulary, 2B to 100B tokens, cosine to a fixed final rate",
    identifiability="rate and m need a decade of N, n and k a decade of D; w needs rate and batch varied together",
)
