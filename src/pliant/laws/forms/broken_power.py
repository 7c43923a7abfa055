"""A power law whose slope changes once: y = a + b x^-c0 (1 + (x / d1)^(1/f1))^(-c1 f1).

When to use it: any measured value along one scale (size, tokens, compute, data) whose slope in logarithms bends once. The slope
is c0 below d1 and c0 + c1 beyond it; a small f1 makes the bend sharp.
What goes wrong: a bend beyond the data is not determined, and without points past it f1 is free. A second bend is not offered: in short
tables it follows noise. Held-out error against a plain power decides whether there is a bend at all (`--compare`).
Source: Caballero et al., arXiv 2210.14891.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pliant.laws.law import Column, Law, Parameter

if TYPE_CHECKING:
    from torch import Tensor


def broken_power(x: Tensor, a: Tensor, b: Tensor, c0: Tensor, c1: Tensor, d1: Tensor, f1: Tensor) -> Tensor:
    """Two powers joined smoothly at d1, above a floor, in the target's unit."""
    import torch

    bend = torch.nn.functional.softplus((torch.log(x) - torch.log(d1)) / f1)
    return a + b * torch.exp(-c0 * torch.log(x) - c1 * f1 * bend)


LAW = Law(
    name="broken_power",
    function=broken_power,
    columns=(Column("x", "as measured", "the scale: size, tokens, compute, samples"),),
    parameters=(
        Parameter("a", "value that scale does not remove", (0.01, 1.0)),
        Parameter("b", "value at x = 1 above a", (1.0, 1e3)),
        Parameter("c0", "slope before the bend", (0.0, 0.1, 0.3, 0.6), "identity"),
        Parameter("c1", "what the bend adds to the slope", (-0.2, 0.3, 1.0), "identity"),
        Parameter("d1", "where it bends", tuple(10.0**decade for decade in range(0, 25, 2))),
        Parameter("f1", "width of the bend, in ln x", (0.1, 0.6), low=1e-3, high=50.0),
    ),
    linear=("a", "b"),
    unit="as measured",
    scale=("x",),
    source="Caballero et al., arXiv 2210.14891",
    valid="one bend, inside the measured range, with at least three points on either side",
    identifiability="d1 and f1 need points beyond the bend; a needs points near it",
)
