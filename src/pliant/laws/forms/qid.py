"""Loss rise from rounding finished weights to P bits, a power of the bits: the rival of `ptq`.

    delta = k D^beta / (N^alpha P^gamma)

When to use it: beside `ptq`, on the same rises; keep the one that predicts held-out rises better.
What goes wrong: over a narrow range of bits both are nearly the same curve; checkpoints that are not annealed alike mix the
effect of the learning rate into beta.
Source: Ouyang et al., arXiv 2411.17691 (there called quantization-induced degradation).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pliant.laws.forms.chinchilla import SIZE, TOKENS
from pliant.laws.forms.ptq import BITS
from pliant.laws.law import Law, Parameter, power

if TYPE_CHECKING:
    from torch import Tensor


def qid(N: Tensor, D: Tensor, Ppost: Tensor, k: Tensor, beta: Tensor, alpha: Tensor, gamma: Tensor) -> Tensor:
    """k D^beta N^-alpha P^-gamma, in nats/token."""
    return k * power(D, beta) * power(N, -alpha) * power(Ppost, -gamma)


LAW = Law(
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
