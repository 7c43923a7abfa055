"""Attacked loss: what rows cost an objective as they are, and after an attack with a stated budget.

Idea: `clean_loss` and `attacked_loss` of the same rows, drawn by the objective as in training; `pgd` moves the embeddings of tokens, in
root mean squares of the embedding matrix. So an adversary is an axis beside noise, rounding and fine-tuning.
When to use it: language models, and any objective without classes; classifiers are better asked by `robustness`.
Cost: `steps` forward and backward passes over the rows.
What goes wrong: crops are random places of the text and may overlap; name `part: heldout` in the objective for text that was not learned. A
loss under attack that hardly rises with `steps` says that the attack failed, not that the model is robust.
Source: arXiv 1605.07725.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from pliant.attacks import AnyAttack
from pliant.measures.measure import Measure, Reading, check_loaded
from pliant.models.modules import evaluating
from pliant.objectives import AnyObjective
from pliant.progress import progress

if TYPE_CHECKING:
    from pliant.models import Model


class AttackedLoss(Measure):
    """The loss of an objective's rows before and after an attack."""

    objective: AnyObjective = Field(description="What is asked: `next_token: {data: text.jsonl, part: heldout}`")
    attack: AnyAttack = Field(description="The adversary and its budget: `pgd: {epsilon: 0.1, steps: 5}`")
    rows: int = Field(64, ge=1, description="How many rows")
    length: int | None = Field(None, ge=1, description="Tokens predicted in a row; by default the model's context")
    seed: int = Field(0, ge=0, description="Of the rows and of the attack's draws")
    batch: int = Field(16, ge=1, exclude=True, description="Rows that go through the network together; the result is the same")

    def readings(self, model: Model) -> Sequence[Reading]:
        """Both losses. Raises PliantError for data that is not the model's, inputs that the attack cannot alter, and as a reading does."""
        import torch

        check_loaded(model)
        examples = self.objective.examples(model, self.length)
        whole = examples.batch(0, self.rows, self.seed)
        totals: dict[str, list[float]] = {"clean_loss": [], "attacked_loss": []}
        with progress("attacked loss", self.rows) as advance:
            for rows in whole.split(self.batch):
                given = rows.to(model.device)
                attacked = self.attack.perturb(model, given, self.objective, self.seed)
                for metric, batch in zip(totals, (given, attacked), strict=True):
                    with torch.inference_mode(), evaluating(model.network):
                        totals[metric] += self.objective.losses(model.network, batch).totals.double().tolist()
                advance(len(rows))
        weights = whole.weights.double().numpy()
        ids = [f"{number}.{row}" for row, number in enumerate(whole.numbers.tolist())]
        return [
            Reading(metric, self.objective.unit, ids, np.array(sums) / weights, weights, examples.fingerprint)
            for metric, sums in totals.items()
        ]

    def tokens(self) -> float:
        """Rows times passes; a backward pass counts as two."""
        return self.rows * (2.0 + 3.0 * float(getattr(self.attack, "steps", 1))) * self.objective.tokens_read(self.length, 64)
