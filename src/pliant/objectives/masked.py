"""Masked: predict hidden tokens of a text from both sides. What BERT and its like are pretrained on.

Idea: random crops of packed text in which 15% of the tokens are to be predicted, most of them behind a mask (see `masking`); the loss of a
token is -log p(token | the rest of its crop).
When to use it: pretraining and continued pretraining of encoders, before they are fine-tuned on labels.
Cost: one forward pass, and with gradients two more; 15% of the tokens teach, so it takes longer than next token.
What goes wrong: it is no likelihood of text: losses of this kind and of the next token do not compare. Crops cross documents.
Source: arXiv 1810.04805; the loss of transformers' masked language models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from pliant.data import Corpus, Packed, Part, Tokenizer, packed
from pliant.errors import PliantError
from pliant.objectives.masking import FRACTION, Frame, draws
from pliant.objectives.next_token import Crops, token_losses
from pliant.objectives.objective import Batch, Losses, Objective

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pliant.models import Model


class Masked(Objective):
    """Predict hidden tokens of a text from all the others."""

    unit = "nats/token"
    measured_by = "masked_loss"
    task = "masked"
    data: Corpus = Field(description="The text: a corpus, or its source")
    part: Part = Field(default="train", description="Which part of it: train, heldout or all")
    fraction: float = Field(default=FRACTION, gt=0, le=1, description="Share of the tokens that are predicted")

    def data_for(self, tokenizer: Tokenizer) -> Packed:
        """The text, tokenised once."""
        return packed(self.data, tokenizer, self.part)

    def examples(self, model: Model, length: int | None) -> MaskedCrops:
        """Random crops with hidden tokens; `length` is how many tokens a row has, those around the text included.

        Raises PliantError for another vocabulary, crops longer than the model's context, and a model without a token for the mask.
        """
        frame, crops = Frame.of(model), Crops.of(self.data_for(model.tokenizer), model, length)
        if crops.length - frame.around < 2:
            raise PliantError(f"length {crops.length} leaves fewer than two tokens of text; give more")
        return MaskedCrops(crops.text, crops.length, frame, self.fraction)

    def losses(self, network: nn.Module, batch: Batch) -> Losses:
        """`batch.targets` (rows, length) are the hidden tokens, and -100 elsewhere."""
        output = network(**batch.inputs)
        hidden = batch.targets >= 0
        losses = token_losses(output.logits[hidden], batch.targets[hidden])
        rows = hidden.nonzero()[:, 0]
        return Losses(losses.new_zeros(len(batch)).index_add(0, rows, losses), batch.weights, output)

    def distributions(self, losses: Losses, batch: Batch) -> tuple[Tensor, Tensor]:
        """Those of hidden tokens."""
        hidden = batch.targets >= 0
        return losses.output.logits[hidden].float(), hidden.nonzero()[:, 0]


@dataclass(frozen=True)
class MaskedCrops(Crops):
    """Random crops with hidden tokens: `length` tokens a row, of which a fraction is predicted. A budget counts all of them."""

    frame: Frame
    fraction: float

    def batch(self, step: int, rows: int, seed: int) -> Batch:
        """Crops at random places, with tokens hidden anew: a pure function of its arguments."""
        import torch

        inside = self.length - self.frame.around
        positions = self.text.positions(step, rows, inside - 1, seed)
        inputs, targets = self.frame.hidden(self.text.at(positions), draws(seed, step, rows, inside), self.fraction)
        weights = torch.from_numpy((targets >= 0).sum(-1).astype(np.float32))
        return Batch(positions[:, 0], {"input_ids": torch.from_numpy(inputs)}, torch.from_numpy(targets), weights)
