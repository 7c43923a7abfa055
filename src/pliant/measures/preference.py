"""Preference: whether a model prefers, of two answers, the one that people chose.

Idea: what an answer is worth to a reward model is its reward; to a language model it is its log-likelihood given the question, less
that under a reference where one is given, which training on preferences (`dpo`) makes larger for chosen answers. A sample is a pair: 1
where the chosen answer is worth more, one half where both are worth the same. Beside it stands by how much more, which moves long
before the order does.
When to use it: before and after training on preferences, and to see what other changes leave of it.
Cost: one forward pass over both answers of every pair, and one of the reference, which is kept.
What goes wrong: without a reference, short answers are likelier than long ones. Pairs that differ only beyond the context are left out.
Source: arXiv 2305.18290, implicit rewards (without their factor beta, which orders nothing).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from pliant.data import Part
from pliant.data.preferences import Preferences
from pliant.errors import PliantError
from pliant.measures.likelihood import sequence_losses
from pliant.measures.measure import Measure, Reading, check_loaded
from pliant.models.modules import evaluating
from pliant.models.stored_model import StoredModel
from pliant.numbers import Count
from pliant.objectives.bradley_terry import pair_rewards, rewarded_pairs
from pliant.objectives.paired import Pairs
from pliant.objectives.reference import reference_differences

if TYPE_CHECKING:
    from pliant.models import Model
    from pliant.statistics import Array

_ROWS = 8  # pairs that a reward model reads at once


class Preference(Measure):
    """Fraction of pairs in which the chosen answer is preferred."""

    data: Preferences = Field(description="Pairs of answers: a table, or its source")
    part: Part = Field("all", description="Which part of it: heldout, train or all")
    samples: Count | None = Field(None, ge=1, description="How many pairs, from the first; null for all")
    reference: StoredModel | None = Field(None, description="What an answer's likelihood is measured against: a checkpoint")

    def readings(self, model: Model) -> Sequence[Reading]:
        """`preference`, and by how many nats (as rewards are in) as `preference_margin`; one value a pair.

        Raises PliantError for a table that cannot be read, a model or reference that gives no numbers, and another's tokenizer.
        """
        check_loaded(model)
        rewards = model.task.labelled
        if rewards and self.reference is not None:
            raise PliantError(f"{model.checkpoint.address} is {model.task.called}: its rewards have no reference; leave that out")
        pairs = rewarded_pairs(self.data, model, self.part, None)
        count = min(len(pairs), self.samples or len(pairs))
        margins = _rewarded(model, pairs, count) if rewards else _likelier(model, pairs, count)
        if self.reference is not None:
            margins = margins - reference_differences(self.reference, model, pairs)[:count]
        ids = [pairs.sequences.ids[start] for start in pairs.sequences.examples[:count]]
        found = (("preference", "fraction", (np.sign(margins) + 1) / 2), ("preference_margin", "nats", margins))
        return [Reading(name, unit, ids, values, np.ones(count), pairs.fingerprint, better="higher") for name, unit, values in found]

    def tokens(self) -> float:
        """About two hundred for each of two answers."""
        return 400.0 * (self.samples or 1000)


def _likelier(model: Model, pairs: Pairs, count: int) -> Array:
    """(count,) log p(chosen) - log p(rejected), in nats, of the first pairs."""
    answers = [answer for number in range(count) for answer in pairs.sequences.example(number)]
    losses = sequence_losses(model.network, [tokens for tokens, _ in answers])
    totals = np.array([loss[learned[1:]].sum() for loss, (_, learned) in zip(losses, answers, strict=True)])
    return totals[1::2] - totals[::2]


def _rewarded(model: Model, pairs: Pairs, count: int) -> Array:
    """(count,) reward of the chosen answer less that of the rejected one. Raises PliantError for rewards that are no numbers."""
    import torch

    found = np.zeros(count)
    order = np.argsort(np.diff(pairs.sequences.offsets).reshape(-1, 2).max(-1)[:count], kind="stable")
    with torch.no_grad(), evaluating(model.network):
        for start in range(0, count, _ROWS):
            numbers = order[start : start + _ROWS]
            chosen, rejected = pair_rewards(model.network, pairs.rows(numbers).to(model.device)).double().cpu().unbind(1)
            found[numbers] = (chosen - rejected).numpy()
    return found
