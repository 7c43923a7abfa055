"""How much a change of given strength raises the loss, as tokens grow: Delta(D, strength).

    Delta = c D^p strength^q N^-r

strength is whatever sets the size of the change: learning rate of a fine-tuning, noise as a multiple of the weights' RMS
(then q near 2 at small noise, where 2 Delta / strength^2 is a trace of the Hessian), 2^-bits of a rounding.
When to use it: one family, one recipe, the same change at several token counts; to find the token count at which
L_base(D) + Delta(D, strength) is lowest.
What goes wrong: early in training the rise grows much faster than D^p. Either cut those runs off (on byte models of 10k
parameters below 200 tokens per parameter) or use `sensitivity_saturating`. No published law: show the residuals. Different
final learning rates imitate a p.
Source: own empirical form; progressive sensitivity after arXiv 2503.19206.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pliant.laws.forms.chinchilla import SIZE, TOKENS
from pliant.laws.law import Column, Law, Parameter, power

if TYPE_CHECKING:
    from torch import Tensor


def sensitivity(N: Tensor, D: Tensor, strength: Tensor, c: Tensor, p: Tensor, q: Tensor, r: Tensor) -> Tensor:
    """c D^p strength^q N^-r, in nats/token."""
    return c * power(D, p) * power(strength, q) * power(N, -r)


COLUMNS = (
    Column("N", SIZE.unit, SIZE.description, default=1.0),
    TOKENS,
    Column("strength", "as the change defines it", "size of the change: learning rate, noise scale, 2^-bits", default=1.0),
)
PARAMETERS = (
    Parameter("c", "rise at one token and strength 1", (1e-6, 1e-3, 1.0)),
    Parameter("p", "late growth with tokens", (0.2, 0.5, 1.0), "identity"),
    Parameter("q", "growth with strength", (0.5, 1.0, 2.0), "identity"),
    Parameter("r", "how fast size protects", (0.0,), "identity"),
)
VALID = "annealed runs of one recipe above about 200 tokens per parameter; rises above the noise and below about 2 nats"

LAW = Law(
    name="sensitivity",
    function=sensitivity,
    columns=COLUMNS,
    parameters=PARAMETERS,
    linear=("c",),
    fix={"r": 0.0},
    target="rise",
    scale=("D",),
    source="own form, after arXiv 2503.19206",
    valid=VALID,
    identifiability="q needs two strengths or more (else fix it), r needs sizes over a decade (held at 0 until freed)",
)
