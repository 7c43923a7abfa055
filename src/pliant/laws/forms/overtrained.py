"""Loss at a fixed number of tokens per parameter.

    L = E + (a M^eta + b M^-eta) C^-eta,     M = D/N,  C = 6 N D

When to use it: predicting long, over-trained runs from short ones; the law `error` turns that into an average task error.
It is `chinchilla` with alpha = beta = 2 eta, A = a 6^-eta, B = b 6^-eta, one parameter fewer.
What goes wrong: fits to the paper's five points are fragile (loss of the largest run off by .7% on RedPajama, 4.3% on C4).
Source: Gadre et al., arXiv 2403.08540, eq. 4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pliant.laws.forms.chinchilla import IRREDUCIBLE, SIZE, TOKENS
from pliant.laws.law import Law, Parameter, power

if TYPE_CHECKING:
    from torch import Tensor


def overtrained(N: Tensor, D: Tensor, E: Tensor, a: Tensor, b: Tensor, eta: Tensor) -> Tensor:
    """E + (a M^eta + b M^-eta) C^-eta, in nats/token."""
    multiple, compute = D / N, 6 * N * D
    return E + (a * power(multiple, eta) + b * power(multiple, -eta)) * power(compute, -eta)


LAW = Law(
    name="overtrained",
    function=overtrained,
    columns=(SIZE, TOKENS),
    parameters=(
        IRREDUCIBLE,
        Parameter("a", "size term, times 6^eta", (1.0, 30.0, 1e3, 3e4)),
        Parameter("b", "token term, times 6^eta", (1.0, 30.0, 1e3, 3e4)),
        Parameter("eta", "exponent of compute at a fixed token multiple", (0.05, 0.15, 0.3, 0.5), "identity"),
    ),
    linear=("E", "a", "b"),
    scale=("N", "D"),
    source="Gadre et al., arXiv 2403.08540, eq. 4",
    valid="11M to 6.9B parameters, 5 to 640 tokens per parameter, tuned learning rates",
    identifiability="a and b are told apart only by runs at two or more token multiples M",
    printed={
        "2403.08540 RedPajama": {"E": 1.83665, "a": 166.21 * 6**0.136425, "b": 366.69, "eta": 0.136425},
        "2403.08540 C4": {"E": 1.5083, "a": 113.69 * 6**0.121235, "b": 189.52, "eta": 0.121235},
        "2403.08540 RefinedWeb": {"E": 1.73446, "a": 125.10 * 6**0.127195, "b": 246.21, "eta": 0.127195},
    },
)
