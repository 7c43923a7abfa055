"""Loss of a model trained in few bits: bits act as if the model had fewer parameters.

    L = A (N f)^-alpha + B D^-beta + E,     f = f_w(Pw) f_a(Pa) f_kv(Pkv),     f_x(P) = 1 - exp(n_x - P / g_x)

When to use it: runs trained with quantized weights, activations or key-value cache in the forward pass.
Sign of the offset n: with +n the printed constants reproduce the paper's own optimum of 7 bits (7.00); without it 3.5.
What goes wrong: below n_x g_x bits f_x is negative and the form has no value (activations at 3 bits); there the law
refuses. Columns that stay at 16 bits say nothing about their g and n: fix those.
Source: Kumar et al., arXiv 2411.04330, with the constants of its appendix (alpha and beta tied there).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pliant.laws.forms.chinchilla import BASE, SIZE, TOKENS, chinchilla
from pliant.laws.law import Column, Law, Parameter

if TYPE_CHECKING:
    from torch import Tensor

WEIGHT_BITS = Column("Pw", "bits", "bits of the weights in training", default=16.0)
ACTIVATION_BITS = Column("Pa", "bits", "bits of the activations in training", default=16.0)
CACHE_BITS = Column("Pkv", "bits", "bits of keys and values in training", default=16.0)

RESOLUTION = tuple(
    parameter
    for part, name in (("w", "weights"), ("a", "activations"), ("kv", "keys and values"))
    for parameter in (
        Parameter(f"g{part}", f"bits that cut the lost share by e, {name}", (1.0, 2.5)),
        Parameter(f"n{part}", f"offset of that exponential, {name}", (0.0, 1.0), "identity"),
    )
)

PRINTED = {
    **{"E": 2.7648, "A": 4.299e3, "B": 1.806e4, "alpha": 0.4965, "beta": 0.4965},
    **{"gw": 2.6745, "nw": 0.3037, "ga": 2.2102, "na": 1.4072, "gkv": 0.9578, "nkv": 2.4185},
}


def resolved(P: Tensor, g: Tensor, n: Tensor) -> Tensor:
    """f(P) = 1 - exp(n - P / g): the fraction of parameters that P bits leave effective; NaN where that is not positive."""
    import torch

    fraction = -torch.expm1(n - P / g)
    return torch.where(fraction > 0, fraction, torch.nan)


def resolved_fraction(
    Pw: Tensor, Pa: Tensor, Pkv: Tensor, gw: Tensor, nw: Tensor, ga: Tensor, na: Tensor, gkv: Tensor, nkv: Tensor
) -> Tensor:
    """f = f_w f_a f_kv: effective parameters over parameters."""
    return resolved(Pw, gw, nw) * resolved(Pa, ga, na) * resolved(Pkv, gkv, nkv)


def training_bits(
    N: Tensor, D: Tensor, Pw: Tensor, Pa: Tensor, Pkv: Tensor,
    E: Tensor, A: Tensor, B: Tensor, alpha: Tensor, beta: Tensor,
    gw: Tensor, nw: Tensor, ga: Tensor, na: Tensor, gkv: Tensor, nkv: Tensor,
) -> Tensor:  # fmt: skip
    """The chinchilla law of N f(Pw, Pa, Pkv) parameters, in nats/token."""
    return chinchilla(N * resolved_fraction(Pw, Pa, Pkv, gw, nw, ga, na, gkv, nkv), D, E, A, B, alpha, beta)


LAW = Law(
    name="training_bits",
    function=training_bits,
    columns=(SIZE, TOKENS, WEIGHT_BITS, ACTIVATION_BITS, CACHE_BITS),
    parameters=(*BASE, *RESOLUTION),
    linear=("E", "A", "B"),
    tie={"beta": "alpha"},
    scale=("N", "D"),
    source="Kumar et al., arXiv 2411.04330, N_eff form with offsets",
    valid="30M to 220M non-embedding parameters, 1.5B to 26B tokens, 3 to 12 bits; activations and cache above 3 bits",
    identifiability="g and n trade off: on the published grid with 1% noise g_w alone is known to 12%, with n fixed to 3%; "
    "what both say about f(P), and the best bits, stands much better",
    printed={"2411.04330": PRINTED, "2411.04330 floating point, weights": {"gw": 2.8111, "nw": 0.1240}},
)
