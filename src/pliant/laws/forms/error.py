"""The average task error that follows from a loss: an exponential that approaches the error of guessing.

    error = epsilon - k exp(-gamma L)

When to use it: after `overtrained` or `chinchilla`, to say what a predicted loss means for an average over tasks.
What goes wrong: it holds for an average over many tasks, and only where the models are above chance; for one task use `accuracy`.
Source: Gadre et al., arXiv 2403.08540, eq. 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pliant.laws.law import Column, Law, Parameter

if TYPE_CHECKING:
    from torch import Tensor


def error(L: Tensor, epsilon: Tensor, k: Tensor, gamma: Tensor) -> Tensor:
    """epsilon - k exp(-gamma L), a share between 0 and 1."""
    import torch

    return epsilon - k * torch.exp(-gamma * L)


LAW = Law(
    name="error",
    function=error,
    columns=(Column("L", "nats/token", "loss on a fixed reference text"),),
    parameters=(
        Parameter("epsilon", "error of a model that knows nothing", (0.5, 0.7, 0.9, 1.0), "identity"),
        Parameter("k", "height of the exponential", (0.3, 1.0, 3.0, 10.0)),
        Parameter("gamma", "how fast a lower loss removes error, per nat", (0.3, 0.7, 1.5, 3.0), "identity"),
    ),
    linear=("epsilon", "k"),
    target="error",
    unit="share of wrong answers",
    residual="difference",
    source="Gadre et al., arXiv 2403.08540, eq. 5",
    valid="error averaged over tasks on which models are above chance; loss on one text and one tokenizer",
    identifiability="epsilon and k need losses on both sides of the bend; over a narrow range of L only the slope is known",
    printed={"2403.08540 RedPajama, 17 tasks": {"epsilon": 0.85699, "k": 2.2065, "gamma": 0.71459}},
)
