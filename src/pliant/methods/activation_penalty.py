"""Activation penalty: what the last layer multiplies is kept small, and so are its weights.

Idea: the loss + gamma_z |z|^2 + gamma_v |V|^2, with z what goes into the last linear layer (the mean over the vectors of a pass, padding
left out) and V its weights. To first order it is what SAM by rows adds to the gradient of a deep network (J-SAM).
When to use it: wrong labels, where SAM helps at twice the cost; try it first. Sweep both from 1e-4 to 1e-1.
Cost: none to speak of.
What goes wrong: a layer norm in front of the head fixes |z|, so that gamma_z moves only its gain. A head tied to the embedding shrinks
the embedding. Objectives that do not ask the head (embeddings) are refused.
Source: arXiv 2405.03676.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from pliant.errors import PliantError
from pliant.methods.method import Forward, Method, MethodState, Run
from pliant.models.modules import heads, linear_layers

if TYPE_CHECKING:
    from torch import Tensor

    from pliant.objectives import Batch, Losses


class ActivationPenalty(Method):
    """Penalise the last hidden activations and the last layer's weights."""

    follows = frozenset({"gradients"})
    strength_field = "gamma_z"
    strengths = (1e-4, 1e-3, 1e-2, 1e-1)
    only_named = True
    steep = ("gamma_z", "gamma_v")
    gamma_z: float = Field(1e-3, ge=0, description="What the squared norm of the last hidden activations counts")
    gamma_v: float = Field(1e-3, ge=0, description="What the squared norm of the last layer's weights counts")

    def prepare(self, run: Run, state: MethodState) -> None:
        """Watch the head's last linear layer. Raises PliantError for a network without one."""
        layers = [layer for head in heads(run.network) for layer in linear_layers(head).values()]
        if not layers:
            raise PliantError(f"activation_penalty: the head of {type(run.network).__name__} has no linear layer")
        seen: list[Any] = []
        state.objects |= {"layer": layers[-1], "seen": seen}
        hook = layers[-1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        state.undo.callback(hook.remove)

    def loss(self, run: Run, state: MethodState, forward: Forward, batch: Batch) -> Losses:
        """With both penalties. Raises PliantError where the head was not asked."""
        seen = state.objects["seen"]
        seen.clear()
        losses = forward(batch)
        if not seen:
            raise PliantError("activation_penalty: this objective does not ask the network's head, so there is nothing to penalise")
        squares = [_real(z.to(losses.totals.dtype).square().sum(-1), batch) for z in seen]
        z = sum(part.sum() for part in squares) / sum(part.numel() for part in squares)
        seen.clear()
        return losses.plus(self.gamma_z * z + self.gamma_v * state.objects["layer"].weight.to(losses.totals.dtype).square().sum())


def _real(squares: Tensor, batch: Batch) -> Tensor:
    """Those of vectors that are no padding, where the batch tells of any in this shape."""
    mask = batch.inputs.get("attention_mask")
    return squares[mask.bool()] if mask is not None and mask.shape == squares.shape else squares
