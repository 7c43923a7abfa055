"""How a table of compute and loss is read: its columns as a law, for tables that know no sizes and tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pliant.laws.law import Column, Law, Parameter, power

if TYPE_CHECKING:
    from torch import Tensor


def _compute(compute: Tensor, E: Tensor, A: Tensor, alpha: Tensor) -> Tensor:
    """E + A C^-alpha, in nats/token."""
    return E + A * power(compute, -alpha)


COMPUTE = Law(
    name="compute",
    function=_compute,
    columns=(Column("compute", "FLOPs", "training compute"),),
    parameters=(
        Parameter("E", "loss that no compute removes", (1.0,)),
        Parameter("A", "loss at one FLOP above E", (1.0,)),
        Parameter("alpha", "how fast compute helps", (0.1,), "identity"),
    ),
    linear=("E", "A"),
    scale=("compute",),
    source="a power law with a floor",
    valid="runs of one recipe, each the best at its compute",
)
