"""Loss on one domain from its share of the data and how long is trained: L = A r^-alpha (B D^-beta + 1).

When to use it: runs of one size that vary a domain's share and log its loss on the way; one fit a domain, or `by` domain.
What goes wrong: a share of zero has no value; the other domains' shares count only by what they leave over. A and the factor before
B D^-beta + 1 are one scale, so the constant is held at 1.
Source: Ge et al., arXiv 2405.14908 (BiMix).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pliant.laws.law import Column, Law, Parameter, power

if TYPE_CHECKING:
    from torch import Tensor


def bimix(r: Tensor, D: Tensor, A: Tensor, alpha: Tensor, B: Tensor, beta: Tensor) -> Tensor:
    """A r^-alpha (B D^-beta + 1), in nats/token."""
    return A * power(r, -alpha) * (B * power(D, -beta) + 1)


LAW = Law(
    name="bimix",
    function=bimix,
    columns=(Column("r", "share", "the domain's share of the training data"), Column("D", "tokens or steps", "how long is trained")),
    parameters=(
        Parameter("A", "loss of training on this domain alone without end", (0.5, 1.5, 4.0)),
        Parameter("alpha", "how fast a larger share helps", (0.02, 0.1, 0.3), "identity"),
        Parameter("B", "how much more the loss is after one unit of D, relatively", (1.0, 1e2, 1e4)),
        Parameter("beta", "how fast training helps", (0.2, 0.5, 0.9), "identity"),
    ),
    linear=("A",),
    levels={"B": ("D", "beta")},
    scale=("D",),
    source="Ge et al., arXiv 2405.14908",
    valid="one size of model; domain shares from a few percent on",
    identifiability="alpha needs shares over a factor of four or more, B and beta a decade of D",
)
