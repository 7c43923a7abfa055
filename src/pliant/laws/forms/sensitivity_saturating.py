"""How much a change of given strength raises the loss as tokens grow, with a steeper rise early in training.

    Delta = c D^p strength^q N^-r / (1 + (D_0 / D)^s)

When to use it: as `sensitivity`, where runs begin early: the exponent of D is p + s before D_0 tokens, and p after.
What goes wrong: as `sensitivity`; with few token counts on either side of D_0 the two exponents trade off.
Source: own empirical form; progressive sensitivity after arXiv 2503.19206.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pliant.laws.forms.sensitivity import COLUMNS, PARAMETERS, VALID, sensitivity
from pliant.laws.law import Law, Parameter, power

if TYPE_CHECKING:
    from torch import Tensor


def sensitivity_saturating(
    N: Tensor, D: Tensor, strength: Tensor, c: Tensor, p: Tensor, q: Tensor, r: Tensor, D_0: Tensor, s: Tensor
) -> Tensor:
    """`sensitivity`, rising as D^(p + s) before D_0 tokens, in nats/token."""
    return sensitivity(N, D, strength, c, p, q, r) / (1 + power(D_0 / D, s))


LAW = Law(
    name="sensitivity_saturating",
    function=sensitivity_saturating,
    columns=COLUMNS,
    parameters=(
        *PARAMETERS,
        Parameter("D_0", "tokens at which the early, steeper growth ends", (1e5, 1e6, 1e7, 1e9)),
        Parameter("s", "how much steeper it is before", (1.0, 2.0), low=0.0),
    ),
    linear=("c",),
    fix={"r": 0.0},
    target="rise",
    scale=("D",),
    source="own form, after arXiv 2503.19206",
    valid=VALID.replace("above about 200 tokens per parameter", "from the first tokens on"),
    identifiability="D_0 and s need at least two token counts on each side of D_0; q and r as in `sensitivity`",
)
