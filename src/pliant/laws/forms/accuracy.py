"""From loss to a task's accuracy: a falling sigmoid between chance and a ceiling.

    accuracy = chance + (ceiling - chance) / (1 + exp(slope (L - middle)))

When to use it: one task, one family, losses on one text; to say what a loss rise costs in accuracy. `chance` is known from
the task (1 / number of choices): fix it. For an average over many tasks the exponential `error` law is simpler.
What goes wrong: losses all on one side of `middle` leave the other plateau free; tokenizers change L.
Source: the usual two-stage link (loss, then task), as in arXiv 2403.08540; the sigmoid is the common choice, not a finding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pliant.laws.law import Column, Law, Parameter

if TYPE_CHECKING:
    from torch import Tensor


def accuracy(L: Tensor, chance: Tensor, ceiling: Tensor, slope: Tensor, middle: Tensor) -> Tensor:
    """chance + (ceiling - chance) sigmoid(-slope (L - middle)), a share between 0 and 1."""
    import torch

    return chance + (ceiling - chance) * torch.sigmoid(slope * (middle - L))


LAW = Law(
    name="accuracy",
    function=accuracy,
    columns=(Column("L", "nats/token", "loss on a fixed reference text"),),
    parameters=(
        Parameter("chance", "accuracy of guessing", (0.0, 0.25, 0.5), "identity", 0.0, 1.0),
        Parameter("ceiling", "accuracy at zero loss", (1.0,), "identity", 0.0, 1.0),
        Parameter("slope", "steepness, per nat", (1.0, 3.0, 10.0)),
        Parameter("middle", "loss halfway between chance and ceiling", (1.5, 2.5, 3.5), "identity"),
    ),
    linear=("chance", "ceiling"),
    fix={"ceiling": 1.0},
    target="accuracy",
    unit="share of right answers",
    residual="difference",
    source="two-stage prediction, arXiv 2403.08540",
    valid="one task and one family of models; loss on one text and one tokenizer",
    identifiability="ceiling (held at 1 until freed) and chance need losses on both plateaus",
)
