"""AdamW: steps scaled by running means of gradients and of their squares, with weight decay apart from them.

When to use it: nearly always for transformers. Cost: two numbers a weight. Source: arXiv 1711.05101.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pliant.train.optimizers.optimizer import Optimizer

if TYPE_CHECKING:
    from torch.optim import Optimizer as TorchOptimizer


class AdamW(Optimizer):
    """Adaptive steps, with the recipe's betas and epsilon."""

    kind = "adamw"

    def build(self, groups: list[dict[str, Any]], lr: float, betas: tuple[float, float], epsilon: float) -> TorchOptimizer:
        """PyTorch's own, fused where the device has that."""
        import torch

        fused = all(parameter.device.type in ("cpu", "cuda", "xpu", "mps") for group in groups for parameter in group["params"])
        return torch.optim.AdamW(groups, lr=lr, betas=betas, eps=epsilon, fused=fused)
