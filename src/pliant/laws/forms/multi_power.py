"""Loss along a run with any learning-rate schedule, each drop's gain saturating with what is trained after it.

    L = L0 + A S1^-alpha - sum over drops of d B (1 - (1 + C rate^-gamma S)^-beta)

S1 is the sum of rates so far, S the sum of rates since the drop, rate what it fell to.
When to use it: as `momentum`, and to choose among schedules: a rate of zero gains nothing here. One model size, batch and peak rate; the
table holds each run's step, rate and loss, dense enough to see the drops. Name the run as `clusters`.
What goes wrong: B, C and beta make up for each other, and gamma needs drops to two depths: quote predictions. The released constants were
fitted with the rises of the warm-up counted as drops, which its L0 absorbs (.16 to .2), so they are not repeated here.
Source: Luo et al., arXiv 2503.12811.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pliant.laws.forms.schedules import COLUMNS, past
from pliant.laws.law import Law, Parameter, power

if TYPE_CHECKING:
    from torch import Tensor


def multi_power(
    run: Tensor, step: Tensor, lr: Tensor, warmup: Tensor, L0: Tensor, A: Tensor, alpha: Tensor,
    B: Tensor, C: Tensor, beta: Tensor, gamma: Tensor,
) -> Tensor:  # fmt: skip
    """A power of what was trained, less every drop's gain, in nats/token."""
    before = past(run, step, lr, warmup)
    speed = before.of_rows(C) * power(before.rate, -before.of_rows(gamma))
    gained = before.drop * (1 - power(1 + speed * before.since, -before.of_rows(beta)))
    return L0 + A * power(before.trained, -alpha) - B * before.summed(gained)


LAW = Law(
    name="multi_power",
    function=multi_power,
    columns=COLUMNS,
    parameters=(
        Parameter("L0", "loss of endless training at a constant rate", (1.0, 2.0, 3.0)),
        Parameter("A", "loss above it when the rates sum to one", (0.2, 2.0, 20.0)),
        Parameter("alpha", "how fast training helps", (0.2, 0.5, 1.0), "identity", 0.0, 3.0),
        Parameter("B", "what a drop of the rate by one gains in the end", (100.0, 500.0)),
        Parameter("C", "how soon it gains that", (0.5, 2.0, 8.0)),
        Parameter("beta", "how slowly the gain saturates", (0.3, 0.6), low=0.05, high=5.0),
        Parameter("gamma", "how much sooner it comes at a lower rate", (0.3, 0.6), "identity", 0.0, 2.0),
    ),
    linear=("L0", "A", "B"),
    scale=("step",),
    along="run",
    source="Luo et al., arXiv 2503.12811",
    valid="25M to 1B parameters; one size, batch and peak rate; cosine, WSD and step schedules, after the warm-up",
    identifiability="B, C and beta lie on a ridge; gamma needs drops to two depths; A and alpha runs over a factor of ten in steps",
)
