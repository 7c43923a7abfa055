"""GraNd: the length of the gradient that one example alone would give.

Idea: || gradient of the loss of the example ||, over all parameters, of a network in evaluation mode, averaged over networks that were
trained briefly. Where the logits' own gradients are alike in length and at right angles it is proportional to EL2N, which costs less.
When to use it: to check EL2N, on small networks.
Cost: one backward pass an example, batched; memory for `batch` copies of the gradients.
What goes wrong: at initialisation it mostly measures how large an input is, and selects no better than chance: the published gain there
came from weights that were already trained. A network that mixes rows (batch norm in training mode) has no gradient of one example.
Source: arXiv 2107.07075; on its failure at initialisation arXiv 2303.14753.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from pliant.scores.el2n import labelled_scoring
from pliant.scores.score import Score, Scoring

if TYPE_CHECKING:
    from torch import Tensor

    from pliant.models import Model
    from pliant.objectives import Batch, Examples


class Grand(Score):
    """Length of the gradient of each example's loss, averaged over models."""

    reads = "label"
    batch: int = Field(32, ge=1, exclude=True, description="Examples whose gradients are held together; the scores are the same")

    def scoring(self, models: Sequence[Model], examples: Examples) -> Scoring:
        """One value per example. Raises as `El2n` does."""
        return labelled_scoring(self, models, examples, gradient_length, self.batch)


def gradient_length(model: Model, batch: Batch) -> Tensor:
    """(rows,) the norm over all parameters together."""
    import torch
    from torch.func import functional_call, grad, vmap
    from torch.nn.functional import cross_entropy

    parameters = {name: parameter.detach() for name, parameter in model.network.named_parameters()}
    buffers = dict(model.network.named_buffers())

    def loss(weights: dict[str, Tensor], inputs: dict[str, Tensor], target: Tensor) -> Tensor:
        row = {name: tensor[None] for name, tensor in inputs.items()}
        return cross_entropy(functional_call(model.network, (weights, buffers), kwargs=row).logits, target[None])

    if model.task.text:  # whose masks are looked at as numbers, which no batched gradient allows
        rows = [{name: tensor[row] for name, tensor in batch.inputs.items()} for row in range(len(batch))]
        alone = [grad(loss)(parameters, row, target) for row, target in zip(rows, batch.targets, strict=True)]
        return torch.stack([_squared(gradients).sqrt() for gradients in alone])
    with warnings.catch_warnings(action="ignore"):  # that attention is not batched yet, which costs time alone
        return vmap(lambda row, target: _squared(grad(loss)(parameters, row, target)))(batch.inputs, batch.targets).sqrt()


def _squared(gradients: dict[str, Tensor]) -> Tensor:
    """The squared length of all gradients together, in float64."""
    import torch

    return torch.stack([gradient.double().square().sum() for gradient in gradients.values()]).sum()
