"""Adversarial training: a network learns from inputs that an attack has altered, alone or beside the clean ones.

Idea: for each forward pass the attack looks for the costliest inputs within its budget, and the loss is `clean` x l(x) + (1 - `clean`) x
l(attacked x); with `divergence` w, plus w KL(answers to x || answers to attacked x), as in TRADES. So `clean: 0` is the classical form,
`clean: 0.5` that of adversarial pretraining, `clean: 1, divergence: 1` holds answers together. The attack meets the network in evaluation
mode: no dropout, batch norm with the statistics it has.
When to use it: `pgd` on the pixels of classifiers and of self-supervised objectives (`rotation`, `jigsaw`); on the embeddings of texts.
Read the result off the measure `robustness`, with more steps than were trained with.
Cost: a forward and a backward pass an attack step beside those of training: about 1 + `steps` times a plain step, and one more with both.
What goes wrong: it costs clean accuracy. Robustness overfits late in training: keep the best checkpoint by robust accuracy on held-out
data. Only the norm and epsilon that were trained against are withstood. An attack of one step teaches networks to mask their gradients. The
log keeps the loss of the clean inputs where there are any.
Source: arXiv 1706.06083; arXiv 2003.12862; the divergence, arXiv 1901.08573.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import Field

from pliant.attacks import AnyAttack, Pgd
from pliant.errors import PliantError
from pliant.methods.method import Forward, Method, MethodState, Run

if TYPE_CHECKING:
    from torch import Tensor

    from pliant.objectives import Batch, Losses

STRIDE = 2**32
"""Between the attack's seeds of two runs, so that no step of one draws as a step of another."""


CLASSICAL = Pgd.parse({"epsilon": 8 / 255, "steps": 10, "step_size": 2 / 255})


class Adversarial(Method):
    """Learn from inputs that an attack has altered."""

    holds = frozenset({"inputs"})
    follows = frozenset({"trained"})
    attack: AnyAttack = Field(CLASSICAL, description="The adversary and its budget")
    clean: float = Field(0.0, ge=0, le=1, description="Share of the loss that is of the inputs as they are")
    divergence: float = Field(0.0, ge=0, description="Weight of the divergence between clean and attacked answers, added to the loss")

    def prepare(self, run: Run, state: MethodState) -> None:
        """Raises PliantError for inputs that the attack cannot alter, and a budget that they do not know."""
        try:
            self.attack.perturb(run.model, run.batch(0)[:1], run.objective)
        except PliantError as error:
            raise error.within("adversarial") from None

    def loss(self, run: Run, state: MethodState, forward: Forward, batch: Batch) -> Losses:
        """Attack, then one pass or two."""
        attacked = self.attack.perturb(run.model, batch, run.objective, run.seed * STRIDE + run.step)
        if not self.clean and not self.divergence:
            return forward(attacked)
        clean, hard = forward(batch), forward(attacked)
        mixed = replace(clean, totals=self.clean * clean.totals + (1 - self.clean) * hard.totals)
        if not self.divergence:
            return mixed
        (own, rows), (other, _) = (run.objective.distributions(losses, batch) for losses in (clean, hard))
        apart = _divergence(own, other)
        each = apart.new_zeros(len(batch)).index_add(0, rows, apart) / rows.bincount(minlength=len(batch)).clamp(min=1)
        return mixed.plus(self.divergence * each.to(mixed.totals.dtype))


def _divergence(own: Tensor, other: Tensor) -> Tensor:
    """(predictions,) KL(own || other) of the distributions that logits (predictions, answers) stand for."""
    p, q = own.log_softmax(-1), other.log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1)
