"""Optimizers of torch with decoupled weight decay, of which PyTorch has none.

They keep what they remember in `state[parameter]`, as tensors by name, which is what `pliant.train.state` saves and puts back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer as TorchOptimizer


class DecoupledSGD(TorchOptimizer):
    """v <- momentum v + g;  w <- (1 - lr decay) w - lr v, with Nesterov g + momentum v in the place of v."""

    def __init__(self, groups: list[dict[str, Any]], lr: float, momentum: float, nesterov: bool) -> None:
        super().__init__(groups, {"lr": lr, "weight_decay": 0.0})
        self.momentum, self.nesterov = momentum, nesterov

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One step of every parameter that has a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.sub_(self._direction(weight), alpha=group["lr"])

    def _direction(self, weight: torch.Tensor) -> torch.Tensor:
        gradient = weight.grad
        assert gradient is not None
        if not self.momentum:
            return gradient
        velocity = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
        velocity.mul_(self.momentum).add_(gradient)
        return gradient + self.momentum * velocity if self.nesterov else velocity


class DecoupledLion(TorchOptimizer):
    """w <- (1 - lr decay) w - lr sign(b1 m + (1 - b1) g);  m <- b2 m + (1 - b2) g."""

    def __init__(self, groups: list[dict[str, Any]], lr: float, betas: tuple[float, float]) -> None:
        super().__init__(groups, {"lr": lr, "weight_decay": 0.0})
        self.betas = betas

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One step of every parameter that has a gradient."""
        now, later = self.betas
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                mean = self.state[weight].setdefault("mean", torch.zeros_like(weight))
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.sub_(torch.lerp(weight.grad, mean, now).sign_(), alpha=group["lr"])
                mean.lerp_(weight.grad, 1 - later)
