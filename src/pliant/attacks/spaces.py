"""Where inputs move: pixels between 0 and 1 in steps of eight bits, or embeddings of tokens.

Idea: an attack is a walk in one of two spaces. In both, inputs are `origin` (rows, points, width) and a move has that shape, too; a ball
lies around each point. Of a text every token's embedding is a point. An image is one point, and its numbers are red, green and blue
between 0 and 1 as they lie in a file, whatever the network makes of them. Radii are fractions of the range of a pixel, or root mean
squares of the embedding matrix.
Cost: a copy of the inputs.
What goes wrong: pixels that were found between the 256 levels cannot be saved; so what leaves this space is rounded, and still in budget.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol

from pliant.errors import PliantError
from pliant.models.modules import token_embedding

if TYPE_CHECKING:
    from torch import Tensor

    from pliant.models import Model
    from pliant.objectives import Batch

Norm = Literal["linf", "l2"]

LEVELS = 255


class Space(Protocol):
    """Where the inputs of one batch move."""

    @property
    def origin(self) -> Tensor:
        """(rows, points, width) where they are."""
        ...

    def radius(self, epsilon: float, norm: Norm) -> float:
        """A budget in numbers of this space. Raises PliantError for one that means nothing here."""
        ...

    def inside(self, move: Tensor) -> Tensor:
        """The nearest move that leads to an input there could be."""
        ...

    def batch(self, move: Tensor) -> Batch:
        """The batch that is `move` away; gradients flow."""
        ...

    def settled(self, move: Tensor, radius: float, norm: Norm) -> Tensor:
        """A move to what can be stored, no further than `radius`."""
        ...


def space_of(model: Model, batch: Batch) -> Space:
    """The space of a batch on the model's device. Raises PliantError for inputs that do not move."""
    if "pixel_values" in batch.inputs:
        return Pixels.of(model, batch)
    return Embeddings.of(model, batch)


@dataclass(frozen=True)
class Pixels:
    """Images; one point each."""

    held: Batch
    origin: Tensor
    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, model: Model, batch: Batch) -> Pixels:
        """Raises PliantError for pixels that are no eight-bit values."""
        import torch

        given = batch.inputs["pixel_values"]
        wide = torch.promote_types(given.dtype, torch.float32)
        mean, std = (
            torch.tensor(told, dtype=wide, device=given.device).view(1, -1, 1, 1) for told in (model.images.mean, model.images.std)
        )
        raw = (given.to(wide) * std + mean) * LEVELS
        levels = raw.round()
        if not bool(((raw - levels).abs() < 0.25).all() and (levels >= 0).all() and (levels <= LEVELS).all()):
            raise PliantError(
                f"{model.checkpoint.address}: these pixels are no eight-bit values between 0 and 255; attack images as files hold them"
            )
        return cls(batch, (levels / LEVELS).contiguous().flatten(1).unsqueeze(1), mean, std)

    def radius(self, epsilon: float, norm: Norm) -> float:
        """As it is."""
        if norm == "linf" and epsilon > 1:
            raise PliantError(
                f"epsilon {epsilon:g} is more than a pixel's whole range; on images it is a fraction of it, such as 8/255 = 0.031"
            )
        if norm == "linf" and 0 < epsilon < 1 / LEVELS:
            raise PliantError(f"epsilon {epsilon:g} moves no eight-bit pixel; give 0, or 1/255 = 0.0039 at least")
        return epsilon

    def inside(self, move: Tensor) -> Tensor:
        """Between black and white."""
        return (self.origin + move).clamp(0, 1) - self.origin

    def batch(self, move: Tensor) -> Batch:
        """The images, as the network reads them."""
        import torch

        given = self.held.inputs["pixel_values"]
        found = (self.origin + move).view(given.shape)
        pixels = ((found - self.mean) / self.std).to(given.dtype)
        if given.is_contiguous(memory_format=torch.channels_last):
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        return replace(self.held, inputs=self.held.inputs | {"pixel_values": pixels})

    def settled(self, move: Tensor, radius: float, norm: Norm) -> Tensor:
        """To the nearest of the 256 levels; where that is outside the ball, to one nearer the origin."""
        import torch

        steps = self.inside(move) * LEVELS
        nearest = steps.round()
        if norm == "linf":
            most = int(radius * LEVELS + 1e-4)
            return nearest.clamp(-most, most) / LEVELS
        far = nearest.norm(dim=-1, keepdim=True) > radius * LEVELS
        return torch.where(far, steps.trunc(), nearest) / LEVELS


@dataclass(frozen=True)
class Embeddings:
    """Texts; a point each token."""

    held: Batch
    origin: Tensor
    unit: float
    """Root mean square of the embedding matrix."""

    @classmethod
    def of(cls, model: Model, batch: Batch) -> Embeddings:
        """Raises PliantError for a batch without tokens."""
        table = token_embedding(model.network).weight
        if "inputs_embeds" in batch.inputs:
            origin = batch.inputs["inputs_embeds"]
        elif "input_ids" in batch.inputs:
            origin = model.network.get_input_embeddings()(batch.inputs["input_ids"])
        else:
            told = ", ".join(batch.inputs) or "no inputs"
            raise PliantError(f"an attack moves pixels or the embeddings of tokens, and this batch has {told}")
        return cls(batch, origin.detach(), float(table.detach().double().square().mean().sqrt()))

    def radius(self, epsilon: float, norm: Norm) -> float:
        """In root mean squares; of a whole embedding's length with `l2`."""
        return epsilon * self.unit * (self.origin.shape[-1] ** 0.5 if norm == "l2" else 1.0)

    def inside(self, move: Tensor) -> Tensor:
        """Any."""
        return move

    def batch(self, move: Tensor) -> Batch:
        """With `inputs_embeds` in the place of `input_ids`."""
        others = {name: tensor for name, tensor in self.held.inputs.items() if name not in ("input_ids", "inputs_embeds")}
        embeds = (self.origin.to(move.dtype) + move).to(self.origin.dtype)
        return replace(self.held, inputs=others | {"inputs_embeds": embeds})

    def settled(self, move: Tensor, radius: float, norm: Norm) -> Tensor:
        """As it is."""
        return move
