"""Loss rise from rounding finished weights to P bits: exponential in bits, and the rival that is a power of bits.

    ptq:  delta = C_T e^b D^gD / N^gN exp(-P / g)          (arXiv 2411.04330)
    qid:  delta = k D^beta / (N^alpha P^gamma)             (arXiv 2411.17691)

When to use them: rises measured on one family at several token counts, sizes and bit widths, with one quantizer and one
group size (never mix granularities in a fit). Uniform rounding error is 4^-P, that is g = 0.72. Fit both, keep the one
that predicts held-out rises better.
What goes wrong: learning-rate decay raises the rise by itself (arXiv 2510.06213), so gD from checkpoints that are not
annealed alike mixes both; early training (under a few hundred tokens per parameter) grows faster than D^gD.
Source: as above. The constant b is unlabelled in the printed table; e^b = 3.09 on C_T is the reading that fits its figures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pliant.laws.forms.chinchilla import SIZE, TOKENS
from pliant.laws.law import Column, Law, Parameter, power

if TYPE_CHECKING:
    from torch import Tensor

BITS = Column("Ppost", "bits", "bits of the weights after training")

RISE = (
    Parameter("C_T", "rise at one token, one parameter, zero bits", (1e-4, 1e-2, 1.0)),
    Parameter("b", "offset of the exponential in bits; multiplies C_T by e^b", (0.0,), "identity"),
    Parameter("gD", "how fast the rise grows with tokens", (0.2, 0.5, 1.0), "identity"),
    Parameter("gN", "how fast the rise shrinks with size", (0.0, 0.3, 0.6), "identity"),
    Parameter("gpost", "bits that cut the rise by e", (0.4, 0.7, 1.2)),
)
PRINTED = {"C_T": 0.0598, "gD": 0.5068, "gN": 0.3439, "gpost": 0.5907}


def ptq(N: Tensor, D: Tensor, Ppost: Tensor, C_T: Tensor, b: Tensor, gD: Tensor, gN: Tensor, gpost: Tensor) -> Tensor:
    """C_T e^b D^gD N^-gN exp(-P / g), in nats/token."""
    import torch

    return C_T * power(D, gD) * power(N, -gN) * torch.exp(b - Ppost / gpost)


def qid(N: Tensor, D: Tensor, Ppost: Tensor, k: Tensor, beta: Tensor, alpha: Tensor, gamma: Tensor) -> Tensor:
    """k D^beta N^-alpha P^-gamma, in nats/token."""
    return k * power(D, beta) * power(N, -alpha) * power(Ppost, -gamma)


LAW = Law(
    name="ptq",
    function=ptq,
    columns=(SIZE, TOKENS, BITS),
    parameters=RISE,
    linear=("C_T",),
    fix={"b": 0.0},
    target="rise",
    scale=("N", "D"),
    source="Kumar et al., arXiv 2411.04330, post-training form",
    valid="30M to 220M non-embedding parameters, 1.5B to 26B tokens, 3 to 6 bits, GPTQ per channel; rises above the noise",
    identifiability="only the product C_T e^b is determined (b is held at 0); gN needs sizes over more than a decade",
    printed={"2411.04330, with its offset": {**PRINTED, "b": 1.1277}, "2411.04330, without": {**PRINTED, "b": 0.0}},
)

RIVAL = Law(
    name="qid",
    function=qid,
    columns=(SIZE, TOKENS, BITS),
    parameters=(
        Parameter("k", "rise at one token, one parameter, one bit", (1e-3, 0.1, 10.0)),
        Parameter("beta", "how fast the rise grows with tokens", (0.2, 0.5, 1.0), "identity"),
        Parameter("alpha", "how fast the rise shrinks with size", (0.0, 0.3, 0.6), "identity"),
        Parameter("gamma", "power of the bits", (3.0, 5.0, 8.0), "identity"),
    ),
    linear=("k",),
    target="rise",
    scale=("N", "D"),
    source="Ouyang et al., arXiv 2411.17691",
    valid="Pythia 160M to 12B, 1B to 206B tokens, 2 to 4 bits; intermediate checkpoints that are not annealed",
    identifiability="over 3 to 6 bits a power and an exponential of the bits are nearly the same curve; only wider ranges tell",
)
