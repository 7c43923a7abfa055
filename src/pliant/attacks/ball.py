"""Balls around points: the steepest direction, the way back inside, and a random place within, each drawn by a row's own number.

All tensors are (rows, points, width); with `linf` a ball is a box around each number, with `l2` a ball around each point.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from pliant.attacks.spaces import Norm


@dataclass(frozen=True)
class Ball:
    """All moves no longer than `radius`."""

    norm: Norm
    radius: float

    def direction(self, gradient: Tensor) -> Tensor:
        """The move of length 1 that raises a loss with this gradient most."""
        if self.norm == "linf":
            return gradient.sign()
        return gradient / gradient.norm(dim=-1, keepdim=True).clamp_min(1e-30)

    def project(self, move: Tensor) -> Tensor:
        """The nearest move inside."""
        if self.norm == "linf":
            return move.clamp(-self.radius, self.radius)
        return move * (self.radius / move.norm(dim=-1, keepdim=True).clamp_min(1e-30)).clamp_max(1.0)

    def random(self, like: Tensor, rows: Sequence[str]) -> Tensor:
        """Uniform in the ball, in float32 at least: each row's place is drawn by its name alone."""
        import torch

        wide = torch.promote_types(like.dtype, torch.float32)
        shape, drawn = like.shape[1:], list[torch.Tensor]()
        for name in rows:
            generator = generator_of(name)
            if self.norm == "linf":
                drawn.append(2 * torch.rand(shape, generator=generator) - 1)
            else:
                away = torch.randn(shape, generator=generator)
                far = torch.rand((*shape[:-1], 1), generator=generator) ** (1 / shape[-1])
                drawn.append(far * away / away.norm(dim=-1, keepdim=True))
        return torch.stack(drawn).to(like.device, wide) * self.radius


def generator_of(name: str) -> torch.Generator:
    """Draws that depend on a name alone, on the CPU."""
    import torch

    key = hashlib.sha256(name.encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(key[:7], "big"))
