"""Loss, less that of the unigram model, from size without vocabulary, vocabulary and tokens.

    Lu = -E + A1 N^-alpha1 + A2 (V width)^-alpha2 + B D^-beta

When to use it: models trained with several vocabularies: losses per token do not compare across tokenizers, losses less the unigram
loss do. Lu is below zero, so residuals are differences.
What goes wrong: D counts tokens of each run's own vocabulary; `tokens_per_character` gives the released tokenizers' rate. In the released
fit the vocabulary was divided by 1000 before that rate, which makes its tokens about three times too many: its constants hold only with
that. Points along one run are no independent runs: name the run as `clusters`.
Source: Tao et al., arXiv 2407.13623, approach 3.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pliant.laws.forms.chinchilla import TOKENS
from pliant.laws.law import Column, Law, Parameter, power

if TYPE_CHECKING:
    from torch import Tensor

MILLION, THOUSAND, BILLION = 1e6, 1e3, 1e9


def tokens_per_character(V: float) -> float:
    """Tokens that one character takes with a vocabulary of V entries, for the paper's tokenizers."""
    return 0.00639222 * math.log(V) ** 2 - 0.15811069 * math.log(V) + 1.20470122


def vocabulary(
    N: Tensor, V: Tensor, width: Tensor, D: Tensor, E: Tensor,
    A1: Tensor, alpha1: Tensor, A2: Tensor, alpha2: Tensor, B: Tensor, beta: Tensor,
) -> Tensor:  # fmt: skip
    """N in millions, V and width in thousands, D in billions, so that the factors are near one; nats/token, below zero."""
    sizes = A1 * power(N / MILLION, -alpha1) + A2 * power(V / THOUSAND * width / THOUSAND, -alpha2)
    return sizes + B * power(D / BILLION, -beta) - E


LAW = Law(
    name="vocabulary",
    function=vocabulary,
    columns=(
        Column("N", "parameters", "parameters outside the embedding and the output layer"),
        Column("V", "entries", "entries of the vocabulary"),
        Column("width", "features", "width of an embedding"),
        TOKENS,
    ),
    parameters=(
        Parameter("E", "what the best model gains over the unigram model", (2.0, 5.0)),
        Parameter("A1", "size term at a million parameters", (0.5, 2.0)),
        Parameter("alpha1", "how fast size helps", (0.2, 0.45, 0.8), "identity"),
        Parameter("A2", "vocabulary term at 1000 entries of width 1000", (0.2, 2.0)),
        Parameter("alpha2", "how fast vocabulary parameters help", (0.3, 0.7), "identity"),
        Parameter("B", "token term at a billion tokens", (0.5, 2.0)),
        Parameter("beta", "how fast tokens help", (0.2, 0.45, 0.8), "identity"),
    ),
    linear=("E", "A1", "A2", "B"),
    tie={"beta": "alpha1"},
    unit="nats/token above the unigram model's",
    residual="difference",
    scale=("N", "D"),
    source="Tao et al., arXiv 2407.13623",
    valid="33M to 1.1B parameters outside the vocabulary, 4k to 96k entries",
    identifiability="alpha2 needs several vocabularies at each size, and runs to its bound in the released table; alpha1 and beta are tied",
)
