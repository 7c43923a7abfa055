"""What a pool of data is worth, as the authors' code of `utility` has it: d lies inside the product and decays with training.

    y(n) = (x_0^b + d) prod_{j >= 1} (n_j / n_{j-1})^b_j,     n_j = min(S (j + 1), n),     b_j = b (1/2)^(j / tau)

When to use it: to reproduce figures of the released code; for decisions fit `utility`, in which d is irreducible.
What goes wrong: as `utility`; what repetition removes from d here is nothing that data could remove.
Source: Goyal et al., arXiv 2404.07177, released code.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pliant.laws.forms import utility

if TYPE_CHECKING:
    from torch import Tensor


def utility_compat(n: Tensor, S: Tensor, a: Tensor, b: Tensor, tau: Tensor, d: Tensor) -> Tensor:
    """(x_0^b + d) times what all later epochs multiply it by."""
    return (utility.first_epoch(n, S, a, b) + d) * utility.repeats(n, S, b, tau)


LAW = replace(
    utility.LAW,
    name="utility_compat",
    function=utility_compat,
    linear=(),
    source="Goyal et al., arXiv 2404.07177, as in the released code",
)
