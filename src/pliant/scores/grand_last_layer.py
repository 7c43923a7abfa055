"""GraNd of the last layer alone: how long the gradient of its weights is, which one forward pass tells.

Idea: the last layer is linear, so its gradient is the outer product of the error e = softmax(logits) - onehot(label) and of what goes into
it, h, with e itself for the bias: a length of || e || sqrt(|| h ||^2 + 1).
When to use it: where `grand` costs too much: larger networks, longer texts. It orders examples much as EL2N does, which costs the same.
Cost: one forward pass.
What goes wrong: it is not the GraNd of the paper, which is over all parameters; whatever the lower layers would learn is not seen.
Source: arXiv 2107.07075 for the score; the closed form is that of any linear layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from pliant.errors import PliantError
from pliant.models.modules import heads, linear_layers
from pliant.scores.el2n import labelled_scoring
from pliant.scores.grand import lengths
from pliant.scores.score import Score, Scoring

if TYPE_CHECKING:
    from torch import Tensor

    from pliant.models import Model
    from pliant.objectives import Batch, Examples


class GrandLastLayer(Score):
    """Length of the gradient of each example's loss for the last layer, averaged over models."""

    reads = "label"
    batch: int = Field(256, ge=1, exclude=True, description="Examples that go through a network together; the scores are the same")

    def scoring(self, models: Sequence[Model], examples: Examples) -> Scoring:
        """One value per example. Raises as `El2n` does, and for a network whose head has no linear layer."""
        return labelled_scoring(self, models, examples, last_length, self.batch)


def last_length(model: Model, batch: Batch) -> Tensor:
    """(rows,) the norm over the parameters of the last linear layer of the head."""
    layers = [layer for head in heads(model.network) for layer in linear_layers(head).values()]
    if not layers:
        raise PliantError(f"{model.checkpoint.address}: its head has no linear layer; score with grand or el2n")
    return lengths(model, batch, layers[-1:])
