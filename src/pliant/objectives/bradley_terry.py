"""Bradley-Terry: a reward for each answer, such that the chosen one has the larger.

Idea: a head with one number on top of a trunk reads the whole dialogue at its last token; a pair costs
-log sigmoid(r_chosen - r_rejected - margin) + centering (r_chosen + r_rejected)^2. Rewards are only known up to a constant, which
`centering` keeps near zero. A network without such a head gets a fresh one, seeded.
When to use it: reward models, for ranking answers or for reinforcement learning.
Cost: two sequences a pair; no logits over the vocabulary.
What goes wrong: where the padding token is the token that ends an answer, transformers reads the reward one token before it, in use as in
training. A reward model learns length and style as readily as sense; measure it on other pairs. A pair whose difference is cut away
is left out, and counted.
Source: arXiv 2203.02155 (equation 1); margin, arXiv 2307.09288; centering as in TRL's RewardTrainer (0.01 is usual).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from pliant.data import Part
from pliant.data.preferences import Preferences
from pliant.data.sequences import UNCUT, Sequences
from pliant.errors import PliantError
from pliant.models.heads import padding_id
from pliant.models.tasks import Needs
from pliant.objectives.objective import Batch, Losses, Objective
from pliant.objectives.paired import Pairs

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pliant.data import Tokenizer
    from pliant.models import Model


class BradleyTerry(Objective):
    """Give the chosen answer a larger reward."""

    unit = "nats"
    task = "sequence"
    data: Preferences = Field(description="Pairs of answers: a table, or its source")
    part: Part = Field(default="train", description="Which part of it: train, heldout or all")
    margin: float = Field(default=0.0, ge=0, description="By how much the chosen reward is to be larger")
    centering: float = Field(default=0.0, ge=0, description="What the square of a pair's summed rewards costs")
    fresh_head: bool = Field(default=False, description="Put a new head on a model that has one already")

    def needs(self) -> Needs:
        """A head with one number."""
        return Needs(self.task, ("reward",), numbers=True, fresh=self.fresh_head)

    def data_for(self, tokenizer: Tokenizer) -> Sequences:
        """The pairs, uncut."""
        return self.data.sequences(tokenizer, self.part, UNCUT)

    def examples(self, model: Model, length: int | None) -> Pairs:
        """The pairs. Raises PliantError for a length beyond the model's context."""
        return rewarded_pairs(self.data, model, self.part, length)

    def texts_of_row(self) -> int:
        """Both answers."""
        return 2

    def told(self) -> str:
        """The columns that were found."""
        return f"a table of {' and '.join(self.data.form().needs)}; the chosen answer is to have the larger reward"

    def losses(self, network: nn.Module, batch: Batch) -> Losses:
        """`batch.inputs` (rows, 2, length) hold both dialogues; the answer's `output` are their rewards (rows, 2)."""
        from torch.nn.functional import logsigmoid

        rewards = pair_rewards(network, batch)
        chosen, rejected = rewards.unbind(1)
        costs = -logsigmoid(chosen - rejected - self.margin) + self.centering * (chosen + rejected).square()
        return Losses(costs.to(batch.weights.dtype), batch.weights, rewards)


def rewarded_pairs(data: Preferences, model: Model, part: Part, length: int | None) -> Pairs:
    """The pairs as a reward model reads them. Raises PliantError for a length beyond its context."""
    config: Any = model.network.config.get_text_config()
    if config.pad_token_id is None:  # by which decoders find the end of each row
        config.pad_token_id = padding_id(model)
    return Pairs.of(data, model, part, length)


def pair_rewards(network: nn.Module, batch: Batch) -> Tensor:
    """(rows, 2) in float32 at least: what the network's head says at the end of each dialogue.

    Raises PliantError for a head that says more than one number, and for embeddings in the place of tokens, in which transformers cannot
    find the end.
    """
    import torch

    if "input_ids" not in batch.inputs:
        raise PliantError("a reward is read at the last token of an answer, which embeddings do not tell; perturb something else")
    real, config = batch.known["real"], getattr(network, "config", None)
    padding = config.get_text_config().pad_token_id if config is not None else 0
    inputs = {**batch.inputs, "input_ids": batch.inputs["input_ids"].masked_fill(~real, padding), "attention_mask": real.long()}
    plain = {"use_cache": False} if hasattr(config, "use_cache") else {}
    found = network(**{name: tensor.flatten(0, 1) for name, tensor in inputs.items()}, **plain).logits
    if found.shape[1:] != (1,):
        raise PliantError(f"{type(network).__name__} answers with {found.shape[-1]} numbers, and a reward is one; ask for a fresh head")
    return (found if found.dtype == torch.float64 else found.float()).view(-1, 2)
