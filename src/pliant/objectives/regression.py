"""Regression: predict a number of a text, or several.

Idea: the squared error of the head's outputs, its mean over the numbers of an example. A network without such a head gets a fresh one.
When to use it: similarity of two sentences, ratings, scores.
Cost: one forward pass of the whole text for each example.
What goes wrong: numbers far from zero take long to reach, since the head starts at answers around zero: scale them to a few units.
Source: the loss of transformers' classifiers with one label.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from pliant.data import Part
from pliant.data.labelled_rows import LabelledRows
from pliant.data.labelled_texts import NumberedTexts
from pliant.data.sequences import UNCUT
from pliant.models.tasks import Needs
from pliant.objectives.labelled_texts import LabelledTextRows, answered
from pliant.objectives.objective import Batch, Losses, Objective

if TYPE_CHECKING:
    from torch import nn

    from pliant.data import Tokenizer
    from pliant.models import Model


class Regression(Objective):
    """Predict numbers."""

    unit = "squared units"
    task = "sequence"
    row_tokens = 1
    data: NumberedTexts = Field(description="Texts with numbers: a table, or its source")
    part: Part = Field(default="train", description="Which part of it: train, heldout or all")
    fresh_head: bool = Field(default=False, description="Put a new head on a model that has one already")

    def needs(self) -> Needs:
        """A head with an output for each number."""
        return Needs("sequence", self.data.classes(), numbers=True, fresh=self.fresh_head)

    def data_for(self, tokenizer: Tokenizer) -> LabelledRows:
        """The texts, uncut."""
        return self.data.rows(tokenizer, self.part, UNCUT)

    def examples(self, model: Model, length: int | None) -> LabelledTextRows:
        """The texts as `model` reads them; `length` is the most tokens of one. Raises PliantError for a length beyond its context."""
        return LabelledTextRows.of(self.data, model, self.part, length)

    def told(self) -> str:
        """The columns that were found."""
        *texts, label = self.data.form().needs
        return f"a table of {' and '.join(texts)} with numbers in {label}, which are learned"

    def losses(self, network: nn.Module, batch: Batch) -> Losses:
        """`batch.targets` (rows, outputs) are the numbers."""
        import torch

        output = answered(network, batch)
        found = output.logits if output.logits.dtype == torch.float64 else output.logits.float()
        return Losses((found - batch.targets.to(found.dtype)).square().mean(-1), batch.weights, output)
