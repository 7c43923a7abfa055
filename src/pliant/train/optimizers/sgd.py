"""SGD with momentum: steps along a running sum of gradients, with weight decay apart from it.

When to use it: image classifiers, and wherever a method's theory is about SGD. Cost: one number a weight.
What goes wrong: rates are one to two orders of magnitude above AdamW's. Decay is decoupled, as everywhere in pliant: the decay that
PyTorch adds to the gradient is `weight_decay` of the same value at a constant rate without momentum only.
Source: Nesterov's form as in arXiv 1212.0901 (section 3); decoupled decay, arXiv 1711.05101.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from pliant.train.optimizers.optimizer import Optimizer

if TYPE_CHECKING:
    from torch.optim import Optimizer as TorchOptimizer


class Sgd(Optimizer):
    """Momentum steps; betas and epsilon of the recipe are not looked at."""

    momentum: float = Field(0.9, ge=0, lt=1, description="How much of the last step goes on")
    nesterov: bool = Field(False, description="Look ahead along the momentum")

    def build(self, groups: list[dict[str, Any]], lr: float, betas: tuple[float, float], epsilon: float) -> TorchOptimizer:
        """PyTorch's own, behind the decay."""
        from pliant.train.optimizers.decoupled import DecoupledSGD

        return DecoupledSGD(groups, lr, self.momentum, self.nesterov and self.momentum > 0)
