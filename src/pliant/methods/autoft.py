"""AutoFT's objective: the loss, and up to eight others beside it, each with a weight of its own.

Idea: loss + sum of weight x other loss. Of what is predicted (logits z, right answer y): `dcm`, the entropy of wrong predictions;
`entropy`, that of all; `hinge`, sum over c != y of max(0, z_c - z_y + 1); `flyp`, CLIP's contrastive loss, both ways, between what goes
into the head and the head's vectors of the labels (of a zero-shot head these are the texts'). Of the P trained parameters: `l1_zero`,
`l2_zero`, `l1_init`, `l2_init`, the sums of |parameter| and of its square over P, and the same of its distance from the start.
When to use it: with weights that were searched for, by `pliant decide losses`, on some hundred labelled examples of another kind.
Cost: one more pass over the logits; for the last four one over the parameters, and a copy of them.
What goes wrong: the weights are tuned together with learning rate and weight decay and mean nothing without them. Sums over P are tiny:
with 1e8 parameters a weight of 10 is a coefficient of 1e-7. `dcm` and `entropy` make the network surer, also where it is wrong. `flyp`
takes two examples of one class in a pass for different ones, as in CLIP, and has no counterpart for language models: refused.
Source: arXiv 2401.10220; contrastive, arXiv 2212.00638. The log keeps the plain loss.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from pliant.errors import PliantError
from pliant.methods.averaging import keep_start
from pliant.methods.l2_start import NO_FACTORS
from pliant.methods.method import Compute, Forward, Method, MethodState, Run
from pliant.models.modules import heads, linear_layers

if TYPE_CHECKING:
    from torch import Tensor

    from pliant.objectives import Batch, Losses, Objective

PREDICTED = ("dcm", "entropy", "hinge")
NORMS = ("l1_zero", "l2_zero", "l1_init", "l2_init")
TEMPERATURE = 0.07
"""Of the contrastive loss: CLIP's first."""
MARGIN = 1.0
"""Of the hinge loss."""


class AutoFt(Method):
    """Add other losses, each with its weight."""

    kind: ClassVar[str] = "autoft"
    follows = frozenset({"trained"})
    dcm: float = Field(0.0, ge=0, description="Weight of the entropy of wrong predictions")
    entropy: float = Field(0.0, ge=0, description="Weight of the entropy of all predictions")
    flyp: float = Field(0.0, ge=0, description="Weight of the contrastive loss between examples and labels; classifiers only")
    hinge: float = Field(0.0, ge=0, description="Weight of the hinge loss, summed over answers")
    l1_zero: float = Field(0.0, ge=0, description="Weight of the mean absolute parameter")
    l2_zero: float = Field(0.0, ge=0, description="Weight of the mean squared parameter")
    l1_init: float = Field(0.0, ge=0, description="Weight of the mean absolute distance from the start")
    l2_init: float = Field(0.0, ge=0, description="Weight of the mean squared distance from the start")

    def prepare(self, run: Run, state: MethodState) -> None:
        """Copy the start, and watch the head. Raises PliantError for norms of an adapter, and `flyp` of what is no classifier."""
        if run.linear_in is not None and any(getattr(self, name) for name in NORMS):
            raise PliantError(f"autoft: {NO_FACTORS}, or leave {', '.join(NORMS)} out")
        if self.l1_init or self.l2_init:
            keep_start(run, state)
        if self.flyp:
            layers = [layer for head in heads(run.network) for layer in linear_layers(head).values()]
            if not run.model.task.labelled or not layers:
                told = f"{type(run.network).__name__} has no linear head with a vector for each label"
                raise PliantError(f"autoft: flyp is for classifiers, and {told}; leave it out")
            seen: list[Any] = []
            state.objects |= {"layer": layers[-1], "seen": seen}
            hook = layers[-1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
            state.undo.callback(hook.remove)

    def loss(self, run: Run, state: MethodState, forward: Forward, batch: Batch) -> Losses:
        """The loss with those of predictions. Raises PliantError for an objective that predicts no distribution, and soft labels."""
        import torch

        seen = state.objects.get("seen", [])
        seen.clear()
        losses = forward(batch)
        weights = {name: getattr(self, name) for name in PREDICTED if getattr(self, name)}
        if weights:
            logits, answers, rows = predictions(run.objective, losses, batch)
            each = torch.stack([weight * LOSSES[name](logits, answers) for name, weight in weights.items()]).sum(0)
            sums = each.new_zeros(len(batch)).index_add(0, rows, each)
            losses = losses.plus((sums / rows.bincount(minlength=len(batch)).clamp(min=1)).to(losses.totals.dtype))
        if self.flyp:
            vectors = pooled(seen.pop(), batch, state.objects["layer"], losses.output.logits)
            losses = losses.plus(self.flyp * contrastive(vectors, state.objects["layer"].weight[batch.targets]))
        return losses

    def gradients(self, run: Run, state: MethodState, compute: Compute, batch: Batch) -> Tensor:
        """Add the gradients of the norms."""
        loss = compute(batch)
        if any(getattr(self, name) for name in NORMS):
            parameters = run.parameters()
            count = sum(p.numel() for p in parameters.values())
            for name, p in parameters.items():
                here = p.detach()
                force = self.l1_zero * here.sign() + 2 * self.l2_zero * here
                if self.l1_init or self.l2_init:
                    away = here - state.tensors[name]
                    force += self.l1_init * away.sign() + 2 * self.l2_init * away
                p.grad = force / count if p.grad is None else p.grad.add_(force / count)
        return loss


def entropy(logits: Tensor, answers: Tensor) -> Tensor:
    """(predictions,) of the distribution, in nats."""
    chances = logits.log_softmax(-1)
    return -(chances.exp() * chances).sum(-1)


def dcm(logits: Tensor, answers: Tensor) -> Tensor:
    """(predictions,) the entropy where the likeliest answer is wrong, and 0 where it is right."""
    return (logits.argmax(-1) != answers).to(logits.dtype) * entropy(logits, answers)


def hinge(logits: Tensor, answers: Tensor) -> Tensor:
    """(predictions,) how far other answers are above the right one less the margin, summed."""
    above = (logits - logits.gather(-1, answers[:, None]) + MARGIN).clamp(min=0)
    return above.sum(-1) - MARGIN  # of the right answer itself


LOSSES = {"dcm": dcm, "entropy": entropy, "hinge": hinge}


def contrastive(examples: Tensor, labels: Tensor) -> Tensor:
    """Of vectors (rows, width) with those of their labels (rows, width): the mean of both ways' cross-entropy within the pass."""
    import torch
    from torch.nn.functional import cross_entropy, normalize

    similar = normalize(examples.float(), dim=-1) @ normalize(labels.float(), dim=-1).T / TEMPERATURE
    own = torch.arange(len(similar), device=similar.device)
    return (cross_entropy(similar, own) + cross_entropy(similar.T, own)) / 2


def predictions(objective: Objective, losses: Losses, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (predictions, answers), the right answers (predictions,), and the row of each (predictions,), row by row.

    Targets below 0 are none. Raises PliantError for soft labels, and an objective that predicts no distribution.
    """
    logits, rows = objective.distributions(losses, batch)
    if batch.targets.is_floating_point():
        raise PliantError("autoft: these labels are probabilities, which have no right answer; leave dcm, entropy and hinge out")
    order = rows.argsort(stable=True)
    answers = batch.targets[batch.targets >= 0].to(logits.device)
    if len(answers) != len(logits):
        raise PliantError(f"autoft: {objective.kind} has {len(answers)} targets and {len(logits)} predictions in a pass")
    return logits[order], answers, rows[order]


def pooled(features: Tensor, batch: Batch, layer: Any, logits: Tensor) -> Tensor:
    """(rows, width) what the head's answers were made of, where it was asked at every token of a row."""
    import torch

    if batch.targets.is_floating_point():
        raise PliantError("autoft: flyp needs one label an example, and these are probabilities; leave it out")
    if features.dim() == 2:
        return features
    places = torch.arange(features.shape[1], device=features.device)
    last = (batch.inputs["attention_mask"] * places).argmax(-1) if "attention_mask" in batch.inputs else places[-1:].expand(len(batch))
    found = features[torch.arange(len(batch), device=features.device), last]
    with torch.no_grad():
        if not torch.allclose(layer(found).to(logits.dtype), logits, rtol=1e-2, atol=1e-3):
            raise PliantError("autoft: flyp cannot tell which of a text's vectors its answer was made of; leave it out")
    return found
