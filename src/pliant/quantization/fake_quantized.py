"""A forward pass in few bits: weights and activations of linear layers, and the cache of keys and values, quantized on the fly.

Idea: the stored weights stay as they are; each linear layer multiplies rounded copies, and attention reads keys and values as a
low-bit cache would hold them. Gradients pass the rounding unchanged (straight-through). Grids are symmetric: one a weight row,
one for all activations of a layer, one each for all keys and all values of a layer.
Cost: a few passes over each rounded tensor.
What goes wrong: the activation grids span the batch, so a sample's loss depends a little on what it is batched with.
Source: arXiv 2411.04330 (appendix); straight-through gradients, arXiv 1308.3432.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers import DynamicCache

from pliant.models.modules import linear_layers, rows_of_outputs
from pliant.quantization.grid import Granularity, round_to_grid

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from transformers.pytorch_utils import Conv1D


class StraightThrough(torch.autograd.Function):
    """Rounds to a grid; its gradient is that of doing nothing. (Nothing is clipped: the grids span their slices.)"""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bits: int, granularity: Granularity) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """`round_to_grid`, symmetric."""
        return round_to_grid(x, bits, granularity=granularity)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The gradient as it came."""
        return gradient, None, None


def straight_through(x: Tensor, bits: int | None, granularity: Granularity) -> Tensor:
    """x rounded with straight-through gradients; x itself for no bits."""
    return x if bits is None else StraightThrough.apply(x, bits, granularity)  # pyright: ignore[reportReturnType]


class FakeQuantizedCache(DynamicCache):
    """Hands keys and values back as a cache of few bits would, and keeps nothing."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """The keys and values of one layer (batch, heads, length, width), each on one grid."""
        return straight_through(key_states, self.bits, "tensor"), straight_through(value_states, self.bits, "tensor")


@contextlib.contextmanager
def fake_quantized(
    network: PreTrainedModel, weights: int | None = None, activations: int | None = None, kv: int | None = None, head: bool = False
) -> Generator[None]:
    """Inside the block, `network` computes in so many bits (None: as it is), in training and evaluation alike.

    `head` says whether the output head is rounded like the other linear layers. Embeddings never are.
    """
    with ExitStack() as undo:
        if weights is not None or activations is not None:
            for layer in linear_layers(network, head).values():
                layer.__dict__["forward"] = partial(_forward, layer, weights, activations)
                undo.callback(layer.__dict__.pop, "forward")
        if kv is not None:
            hook = network.base_model.register_forward_pre_hook(partial(_with_cache, kv), with_kwargs=True)
            undo.callback(hook.remove)
        yield


def _forward(layer: nn.Linear | Conv1D, weights: int | None, activations: int | None, x: Tensor) -> Tensor:
    """What the layer computes, from rounded factors."""
    matrix = rows_of_outputs(layer.weight, layer)
    return linear(straight_through(x, activations, "tensor"), straight_through(matrix, weights, "channel"), layer.bias)


def _with_cache(bits: int, network: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    return args, {**kwargs, "past_key_values": FakeQuantizedCache(bits)}
