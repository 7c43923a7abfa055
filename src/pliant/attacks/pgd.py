"""Projected gradient descent on embeddings: every token's embedding moves a little, in the direction that costs most.

Idea: x <- project(x + step * direction of the gradient of the loss), from a random point of the ball around the embeddings that the
batch has. With norm `linf` the ball is a box around each number and the direction its sign; with `l2` it is a ball around each token's
embedding and the direction is the unit gradient of that token. Radii are relative to the root mean square of the model's embedding
matrix, so that one `epsilon` means as much to one checkpoint as to another: in `l2` it is a fraction of a typical embedding's length.
When to use it: to ask how much a text model leans on exact embeddings, as a change of inputs rather than of weights; inside
training, as adversarial fine-tuning.
Cost: `steps` forward and backward passes over the batch. Only the inputs get gradients.
What goes wrong: embeddings move to where no token is, so nobody could type the result. More steps find more; where the loss does
not rise with `steps`, gradients are masked, and the model is not robust. The bounds hold up to rounding to the embeddings' number type.
Source: arXiv 1706.06083; on embeddings of text arXiv 1605.07725.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pliant.attacks.attack import Attack
from pliant.errors import PliantError
from pliant.models.modules import evaluating

if TYPE_CHECKING:
    from torch import Tensor

    from pliant.models import Model
    from pliant.objectives import Batch, Objective


class Pgd(Attack):
    """Move the embeddings of tokens inside a ball, step by step, to where the loss is highest."""

    epsilon: float = Field(0.1, ge=0, description="Radius of the ball, in root mean squares of the embedding matrix")
    steps: int = Field(5, ge=0, le=1000, description="Gradient steps; without any, a random point of the ball")
    step_size: float | None = Field(
        None, gt=0, description="Length of a step, in the unit of `epsilon`; by default 2.5 `epsilon` / `steps`"
    )
    norm: Literal["linf", "l2"] = Field("linf", description="The ball: of every number by itself, or of every token's embedding")

    def perturb(self, model: Model, batch: Batch, objective: Objective, seed: int = 0) -> Batch:
        """The batch with `inputs_embeds` in the place of `input_ids`; a row's start depends on the seed and its example alone.

        Raises PliantError for a batch without tokens, and for a gradient that is not finite.
        """
        import torch

        batch = batch.to(model.device)
        others = {name: tensor for name, tensor in batch.inputs.items() if name not in ("input_ids", "inputs_embeds")}
        with torch.no_grad():
            origin = _embedded(model, batch)
            scale = _scale(model) * (origin.shape[-1] ** 0.5 if self.norm == "l2" else 1.0)
            radius, step = self.epsilon * scale, (self.step_size or 2.5 * self.epsilon / max(1, self.steps)) * scale
            moved = self._project(self._start(batch, origin, seed) * radius, radius)

        def attacked(move: Tensor) -> Batch:
            embeds = (origin.to(move.dtype) + move).to(origin.dtype)
            return replace(batch, inputs=others | {"inputs_embeds": embeds})

        with evaluating(model.network), torch.enable_grad():
            for _ in range(self.steps):
                moved.requires_grad_(True)
                (gradient,) = torch.autograd.grad(objective.losses(model.network, attacked(moved)).totals.sum(), moved)
                if not torch.isfinite(gradient).all():
                    raise PliantError(f"{model.checkpoint.address}: the gradient of the loss is not finite; attack in a wider number type")
                moved = self._project(moved.detach() + step * self._direction(gradient), radius)
        return attacked(moved.detach())

    def _direction(self, gradient: Tensor) -> Tensor:
        if self.norm == "linf":
            return gradient.sign()
        return gradient / gradient.norm(dim=-1, keepdim=True).clamp_min(1e-30)

    def _project(self, move: Tensor, radius: float) -> Tensor:
        if self.norm == "linf":
            return move.clamp(-radius, radius)
        return move * (radius / move.norm(dim=-1, keepdim=True).clamp_min(1e-30)).clamp_max(1.0)

    def _start(self, batch: Batch, origin: Tensor, seed: int) -> Tensor:
        """A point of the unit ball for every token, uniform in it, in float32 at least."""
        import torch

        wide = torch.promote_types(origin.dtype, torch.float32)
        rows: list[Tensor] = []
        for number in batch.numbers.tolist():
            key = hashlib.sha256(f"{seed} {number}".encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(key[:7], "big"))
            if self.norm == "linf":
                rows.append(2 * torch.rand(origin.shape[1:], generator=generator) - 1)
            else:
                away = torch.randn(origin.shape[1:], generator=generator)
                far = torch.rand((*origin.shape[1:-1], 1), generator=generator) ** (1 / origin.shape[-1])
                rows.append(far * away / away.norm(dim=-1, keepdim=True))
        return torch.stack(rows).to(origin.device, wide)


def _embedded(model: Model, batch: Batch) -> Tensor:
    """(rows, length, width) what the network's body reads. Raises PliantError for a batch without tokens."""
    if "inputs_embeds" in batch.inputs:
        return batch.inputs["inputs_embeds"]
    if "input_ids" not in batch.inputs:
        raise PliantError(f"pgd moves the embeddings of tokens, and this batch has {', '.join(batch.inputs) or 'no inputs'}")
    return model.network.get_input_embeddings()(batch.inputs["input_ids"])


def _scale(model: Model) -> float:
    """Root mean square of the embedding matrix."""
    table = model.network.get_input_embeddings().weight
    return float(table.detach().double().square().mean().sqrt())  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
