"""Direct preference optimisation: the chosen answer gains on the rejected one, measured against the model as it was.

Idea: with r = beta (log p(answer) - log p_reference(answer)), summed over the answer's tokens, a pair costs
-(1 - e) log sigmoid(r_chosen - r_rejected) - e log sigmoid(r_rejected - r_chosen); e is `label_smoothing`, the share of pairs labelled
the wrong way round. The reference is frozen: the model before training, or a checkpoint that is named. What it gives each answer is
worked out once, and kept by the hash of its weights and of the pairs.
When to use it: pairs of answers of which one is preferred, after fine-tuning on answers; no reward model and no sampling.
Cost: two sequences a pair; one forward pass of the reference over the data, before the first step.
What goes wrong: both answers can grow less likely while their difference grows; small beta and long training drift far from the
reference. Answers beyond the length are cut, and a pair whose difference is cut away is left out (both are counted).
Source: arXiv 2305.18290; label smoothing as in its conservative form (arXiv 2305.18290 v3 and TRL).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import Field

from pliant.data import Part
from pliant.data.preferences import Preferences
from pliant.data.sequences import UNCUT, Sequences
from pliant.models.stored_model import StoredModel
from pliant.objectives.objective import Batch, Losses, Objective
from pliant.objectives.paired import Pairs, side_by_side
from pliant.objectives.reference import difference, reference_differences

if TYPE_CHECKING:
    from torch import nn

    from pliant.data import Corpus, Tokenizer
    from pliant.models import Model


class Dpo(Objective):
    """Prefer the chosen answer, more than a frozen reference does."""

    unit = "nats"
    data: Preferences = Field(description="Pairs of answers: a table, or its source")
    part: Part = Field(default="train", description="Which part of it: train, heldout or all")
    beta: float = Field(default=0.1, gt=0, description="How much a nat of difference from the reference counts")
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=0.5, description="Fraction of the pairs thought to be labelled the wrong way round"
    )
    reference: StoredModel | None = Field(
        default=None, description="The frozen reference: a checkpoint; by default the model before training"
    )

    @classmethod
    def found_in(cls, corpus: Corpus, part: Part) -> Dpo | None:
        """Where the columns are of chosen and rejected answers."""
        data = Preferences.of(corpus)
        return None if data is None else cls(data=data, part=part)

    def data_for(self, tokenizer: Tokenizer) -> Sequences:
        """The pairs, uncut."""
        return self.data.sequences(tokenizer, self.part, UNCUT)

    def examples(self, model: Model, length: int | None) -> Pairs:
        """The pairs with what the reference gives their answers; by default `model` as it is now.

        Raises PliantError for a length beyond the model's context, and a reference of another tokenizer or context.
        """
        pairs = self.counted(model, length)
        return replace(pairs, known=(("reference", reference_differences(self.reference, model, pairs)),))

    def counted(self, model: Model, length: int | None) -> Pairs:
        """The pairs alone."""
        return Pairs.of(self.data, model, self.part, length)

    def texts_of_row(self) -> int:
        """Both answers."""
        return 2

    def told(self) -> str:
        """The columns that were found."""
        against = "the model before training" if self.reference is None else self.reference.address
        return f"a table of {' and '.join(self.data.form().needs)}; the chosen answer is to gain on the rejected one, against {against}"

    def losses(self, network: nn.Module, batch: Batch) -> Losses:
        """`batch.targets` (rows, 2, length) are the next tokens of both answers; `batch.known["reference"]` (rows,) what the
        reference gives the chosen one more than the rejected one, in nats."""
        from torch.nn.functional import logsigmoid

        output = network(**side_by_side(batch), use_cache=False)
        gain = self.beta * (difference(output.logits, batch.targets) - batch.known["reference"].to(output.logits.device))
        costs = -(1 - self.label_smoothing) * logsigmoid(gain) - self.label_smoothing * logsigmoid(-gain)
        return Losses(costs.to(batch.weights.dtype), batch.weights, output)
