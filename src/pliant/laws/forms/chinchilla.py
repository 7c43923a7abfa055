"""Loss from parameters and tokens: L = E + A N^-alpha + B D^-beta.

When to use it: annealed runs of one recipe that vary size and tokens, each token seen at most once or a few times.
What goes wrong: checkpoints of one run that are not annealed look like a worse B; repeated data looks like a smaller
beta (use `repetition`). N may be counted with or without embeddings: say which, and do not mix.
Source: Hoffmann et al. 2022, approach 3; constants from the refit of Besiroglu et al., arXiv 2404.10102.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pliant.laws.law import Column, Law, Parameter, power

if TYPE_CHECKING:
    from torch import Tensor

SIZE = Column("N", "parameters", "model size; total or without embeddings, but the same count in every row")
TOKENS = Column("D", "tokens", "training tokens, as a raw count")

IRREDUCIBLE = Parameter("E", "loss that neither size nor tokens remove", (0.37, 0.61, 1.0, 1.65, 2.72))
SIZE_FACTOR = Parameter("A", "loss of a one-parameter model above E", (1.0, 1.5e2, 2.2e4, 3.3e6, 4.9e8, 7.2e10))
TOKEN_FACTOR = Parameter("B", "loss after one token above E", (1.0, 1.5e2, 2.2e4, 3.3e6, 4.9e8, 7.2e10))
SIZE_EXPONENT = Parameter("alpha", "how fast size helps", (0.0, 0.5, 1.0, 1.5, 2.0), "identity")
TOKEN_EXPONENT = Parameter("beta", "how fast tokens help", (0.0, 0.5, 1.0, 1.5, 2.0), "identity")
BASE = (IRREDUCIBLE, SIZE_FACTOR, TOKEN_FACTOR, SIZE_EXPONENT, TOKEN_EXPONENT)
"""The five parameters that every law built on this one shares."""


def chinchilla(N: Tensor, D: Tensor, E: Tensor, A: Tensor, B: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """E + A N^-alpha + B D^-beta, in nats/token."""
    return E + A * power(N, -alpha) + B * power(D, -beta)


LAW = Law(
    name="chinchilla",
    function=chinchilla,
    columns=(SIZE, TOKENS),
    parameters=BASE,
    linear=("E", "A", "B"),
    scale=("N", "D"),
    source="Hoffmann et al. 2022, arXiv 2203.15556, approach 3",
    valid="annealed runs; 44M to 16B parameters, up to about 100 tokens per parameter in the original table",
    identifiability="A and alpha (B and beta) trade off along a ridge unless N (D) spans more than a decade; E needs runs near it",
    printed={"2404.10102": {"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658}},
)
