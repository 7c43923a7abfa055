"""Batch norm's running statistics: what they are where weights were changed behind their back, and how to take them anew.

Idea: in evaluation a batch norm layer subtracts a mean and divides by a deviation that it kept in training. Weights that are averaged,
interpolated, pruned or rounded make other activations, for which the old statistics are wrong: a path between two good networks then
looks like a mountain. So they are taken again, on examples, with the weights as they are.
When to use it: after averaging, interpolating and merging; before a barrier is measured (report it with and without).
Cost: one forward pass over the examples.
What goes wrong: small batches; all layers are taken in one pass, each seeing what the layers below make with their batch's own
statistics, as in training. Two states that are interpolated must have their statistics interpolated as well, or taken anew.
Source: arXiv 1803.05407 (weight averaging).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pliant.errors import PliantError
from pliant.models.modules import evaluating

if TYPE_CHECKING:
    from torch import Tensor, nn


def norms_with_statistics(network: nn.Module) -> list[Any]:
    """The layers that keep running statistics."""
    from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]

    return [layer for layer in network.modules() if isinstance(layer, _BatchNorm) and layer.track_running_stats]


def reestimate(network: nn.Module, batches: Iterable[Mapping[str, Tensor]]) -> None:
    """Take the running statistics anew, in place: of each layer the mean over batches of the batch's mean and unbiased variance.

    Nothing else of the network changes; one without such layers is left as it is, and nothing is put through it.

    Args:
        network: On the device of the batches.
        batches: What the network is called with, by argument; batches of one size, and better of a hundred rows than of ten.

    Raises PliantError where there is no batch.
    """
    import torch

    layers = norms_with_statistics(network)
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    seen = 0
    with evaluating(network), torch.no_grad():
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum, layer.training = None, True  # no momentum: every batch counts as much
        try:
            for inputs in batches:
                network(**inputs)
                seen += 1
        finally:
            for layer, momentum in zip(layers, momenta, strict=True):
                layer.momentum = momentum
    if not seen:
        raise PliantError("statistics of batch norm are taken on examples; give at least one batch")
