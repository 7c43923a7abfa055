"""GraNd: the length of the gradient that one example alone would give.

Idea: || gradient of the loss of the example ||, over all parameters, of a network in evaluation mode, averaged over networks that were
trained briefly. Where the logits' own gradients are alike in length and at right angles it is proportional to EL2N, which costs less.
When to use it: to check EL2N. `grand_last_layer` is cheaper, and another score.
Cost: for each batch a forward pass, the backward pass of its activations, and products of the two; no gradient of a weight is held
(see `ghost_norms`), so memory is that of a batch's activations.
What goes wrong: at initialisation it mostly measures how large an input is, and selects no better than chance: the published gain there
came from weights that were already trained. A network that mixes rows (batch norm in training mode) has no gradient of one example.
Source: arXiv 2107.07075; on its failure at initialisation arXiv 2303.14753.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from pliant.scores.el2n import labelled_scoring
from pliant.scores.ghost_norms import squared_gradients
from pliant.scores.score import Score, Scoring

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pliant.models import Model
    from pliant.objectives import Batch, Examples


class Grand(Score):
    """Length of the gradient of each example's loss, averaged over models."""

    reads = "label"
    batch: int = Field(32, ge=1, exclude=True, description="Examples that go through a network together; the scores are the same")

    def scoring(self, models: Sequence[Model], examples: Examples) -> Scoring:
        """One value per example. Raises as `El2n` does."""
        return labelled_scoring(self, models, examples, gradient_length, self.batch)


def gradient_length(model: Model, batch: Batch) -> Tensor:
    """(rows,) the norm over all parameters together."""
    return lengths(model, batch, ())


def lengths(model: Model, batch: Batch, modules: Sequence[nn.Module]) -> Tensor:
    """(rows,) the norm over the parameters of some modules, or of all of them."""
    import torch
    from torch.nn.functional import cross_entropy

    def losses(rows: slice) -> Tensor:
        some = batch[rows]
        logits = model.network(**some.inputs).logits
        return cross_entropy(logits if logits.dtype == torch.float64 else logits.float(), some.targets, reduction="none")

    return squared_gradients(model.network, losses, len(batch), modules).sqrt()
