"""Loss along a run with any learning-rate schedule: a power of what was trained, less what annealing has gained so far.

    L = L0 + A S1^-alpha - C S2,     S1 = sum of rates,  S2 = sum over drops of d (1 - lam^age) / (1 - lam)

When to use it: to predict an annealed run from a constant one and one that was annealed: loss along constant rates does not (errors of
1 to 5%). One model size, batch and peak rate; the table holds each run's step, rate and loss. Name the run as `clusters`.
What goes wrong: it keeps falling over steps at a rate of zero, so no schedule may be optimised with it; use `multi_power` for that. lam is
known only after a sudden drop and is held at .999.
Source: Tissue et al., arXiv 2408.11029.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pliant.laws.forms.schedules import COLUMNS, past
from pliant.laws.law import Law, Parameter, power

if TYPE_CHECKING:
    from torch import Tensor


def momentum(run: Tensor, step: Tensor, lr: Tensor, warmup: Tensor, L0: Tensor, A: Tensor, alpha: Tensor, C: Tensor, lam: Tensor) -> Tensor:
    """L0 + A S1^-alpha - C S2, in nats/token."""
    before = past(run, step, lr, warmup)
    kept = before.of_rows(lam)
    annealed = before.summed(before.drop * (1 - power(kept, before.age)) / (1 - kept))
    return L0 + A * power(before.trained, -alpha) - C * annealed


LAW = Law(
    name="momentum",
    function=momentum,
    columns=COLUMNS,
    parameters=(
        Parameter("L0", "loss of endless training at a constant rate", (1.0, 2.0, 3.0)),
        Parameter("A", "loss above it when the rates sum to one", (0.2, 2.0, 20.0)),
        Parameter("alpha", "how fast training helps", (0.2, 0.5, 1.0), "identity", 0.0, 3.0),
        Parameter("C", "what one unit of annealing gains", (0.01, 0.3, 10.0)),
        Parameter("lam", "how much of a drop's gain is still to come after a step", (0.999,), low=0.9, high=0.99999),
    ),
    linear=("L0", "A", "C"),
    fix={"lam": 0.999},
    scale=("step",),
    along="run",
    source="Tissue et al., arXiv 2408.11029",
    valid="one size, batch and peak rate; schedules with one phase of falling rates, after the warm-up",
    identifiability="A and alpha need runs over a factor of ten in steps, C one annealed run, lam a sudden drop (held at .999 until freed)",
)
