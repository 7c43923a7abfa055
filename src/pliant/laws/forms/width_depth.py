"""Loss from width, depth, size and tokens: which shape a model should have.

    L = E + A width^-a + F depth^-f + P N^-p + B D^-b

When to use it: families that vary width and depth separately, to choose a shape at a size.
What goes wrong: with P held at 0 the best E of the released table is zero: width and depth alone have no floor of size. Checkpoints of one
shape share its luck: name the shape as `clusters`. Runs that are not annealed bias B and b.
Source: McLeish et al., arXiv 2502.06857, and its released code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pliant.laws.forms.chinchilla import IRREDUCIBLE, SIZE, TOKENS
from pliant.laws.law import Column, Law, Parameter, power

if TYPE_CHECKING:
    from torch import Tensor


def width_depth(
    N: Tensor, D: Tensor, width: Tensor, depth: Tensor, E: Tensor, A: Tensor, a: Tensor, F: Tensor, f: Tensor,
    P: Tensor, p: Tensor, B: Tensor, b: Tensor,
) -> Tensor:  # fmt: skip
    """The sum of a floor and four falling powers, in nats/token."""
    return E + A * power(width, -a) + F * power(depth, -f) + P * power(N, -p) + B * power(D, -b)


def _factor(name: str, meaning: str) -> Parameter:
    return Parameter(name, meaning, (1.0, 1e3))


def _exponent(name: str, meaning: str) -> Parameter:
    return Parameter(name, meaning, (0.3, 0.8), "identity", 0.0, 5.0)


LAW = Law(
    name="width_depth",
    function=width_depth,
    columns=(
        SIZE,
        TOKENS,
        Column("width", "features", "width of the residual stream"),
        Column("depth", "layers", "number of blocks"),
    ),
    parameters=(
        IRREDUCIBLE,
        _factor("A", "width term at width one"),
        _exponent("a", "how fast width helps"),
        _factor("F", "depth term at depth one"),
        _exponent("f", "how fast depth helps"),
        _factor("P", "size term of a one-parameter model"),
        _exponent("p", "how fast size helps beyond its shape"),
        _factor("B", "loss after one token above E"),
        _exponent("b", "how fast tokens help"),
    ),
    linear=("E", "A", "F", "P", "B"),
    scale=("N", "D"),
    source="McLeish et al., arXiv 2502.06857",
    valid="50M to 2B parameters, width over depth from 10 to 200, up to 350B tokens",
    identifiability="the size term and E trade off with width and depth, which make up the size: shapes must vary at equal size",
)
