"""Lion: every weight moves by the learning rate, in the direction of the sign of a running mean of gradients.

When to use it: where AdamW's second moment does not fit into memory; the optimizer of the code base behind "LoRA learns less".
Cost: one number a weight. What goes wrong: its rate is 3 to 10 times below AdamW's and its decay as many times above.
Source: arXiv 2302.06675 (algorithm 2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from pliant.train.optimizers.optimizer import Optimizer

if TYPE_CHECKING:
    from torch.optim import Optimizer as TorchOptimizer


class Lion(Optimizer):
    """Steps by the sign; betas and epsilon of the recipe are not looked at."""

    momentum: tuple[float, float] = Field((0.9, 0.99), description="Averaging of gradients: for the step, and for the memory")

    def build(self, groups: list[dict[str, Any]], lr: float, betas: tuple[float, float], epsilon: float) -> TorchOptimizer:
        """With decoupled decay, as published."""
        from pliant.train.optimizers.decoupled import DecoupledLion

        return DecoupledLion(groups, lr, self.momentum)
