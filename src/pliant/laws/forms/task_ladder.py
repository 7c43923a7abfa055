"""From size and tokens to one task's accuracy in one step: a sigmoid of the chinchilla law.

    accuracy = chance + (ceiling - chance) / (1 + exp(E + A N^-alpha + B D^-beta))

When to use it: ladders without a measured loss of the right answers. With it, fit the loss (`chinchilla` on bits per byte) and then
`accuracy` on that loss, and chain the two: `pliant decide downstream` gives the joint interval.
What goes wrong: tasks at chance give no slope; slope and middle of the second step are absorbed in E, A and B, so that they are no loss.
Source: Bhagia et al., arXiv 2412.04403, one-step variant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pliant.laws.forms.chinchilla import SIZE, TOKENS, chinchilla
from pliant.laws.law import Law, Parameter

if TYPE_CHECKING:
    from torch import Tensor


def task_ladder(
    N: Tensor, D: Tensor, chance: Tensor, ceiling: Tensor, E: Tensor, A: Tensor, B: Tensor, alpha: Tensor, beta: Tensor
) -> Tensor:
    """chance + (ceiling - chance) sigmoid(-(E + A N^-alpha + B D^-beta)), a share between 0 and 1."""
    import torch

    return chance + (ceiling - chance) * torch.sigmoid(-chinchilla(N, D, E, A, B, alpha, beta))


LAW = Law(
    name="task_ladder",
    function=task_ladder,
    columns=(SIZE, TOKENS),
    parameters=(
        Parameter("chance", "accuracy of guessing", (0.0, 0.25, 0.5), "identity", 0.0, 1.0),
        Parameter("ceiling", "accuracy at infinite size and tokens, were E far below zero", (1.0,), "identity", 0.0, 1.0),
        Parameter("E", "log odds against the ceiling that scale does not remove", (-5.0, -2.0, 0.0), "identity"),
        Parameter("A", "size term of a one-parameter model", (10.0, 1e3, 1e5)),
        Parameter("B", "token term after one token", (10.0, 1e3, 1e5)),
        Parameter("alpha", "how fast size helps", (0.1, 0.3, 0.6), "identity", 0.0, 2.0),
        Parameter("beta", "how fast tokens help", (0.1, 0.3, 0.6), "identity", 0.0, 2.0),
    ),
    levels={"A": ("N", "alpha"), "B": ("D", "beta")},
    linear=("chance", "ceiling"),
    fix={"ceiling": 1.0},
    target="accuracy",
    unit="share of right answers",
    residual="difference",
    scale=("N", "D"),
    source="Bhagia et al., arXiv 2412.04403",
    valid="one task, one family of models, 190M to 1.3B parameters at 1 to 10 times 20 tokens per parameter",
    identifiability="E, the ceiling (held at 1 until freed) and the exponents need accuracies well above chance; fix a known chance",
)
