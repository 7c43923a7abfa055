"""Loss rise from rounding finished weights to P bits, exponential in the bits.

    delta = C_T e^b D^gD / N^gN exp(-P / g)

When to use it: rises measured on one family at several token counts, sizes and bit widths, with one quantizer and one
group size (never mix granularities in a fit). Uniform rounding error is 4^-P, that is g = 0.72. Fit its rival `qid` too, and
keep the one that predicts held-out rises better.
What goes wrong: learning-rate decay raises the rise by itself (arXiv 2510.06213), so gD from checkpoints that are not
annealed alike mixes both; early training (under a few hundred tokens per parameter) grows faster than D^gD.
Source: Kumar et al., arXiv 2411.04330, post-training part. The constant b is unlabelled in the printed table; e^b = 3.09 on
C_T is the reading that fits its figures.
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
