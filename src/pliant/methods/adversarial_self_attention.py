"""Adversarial self-attention: an adversary cuts links of attention, and the network is to answer as before without them.

Idea: in each attention layer s = q k / sqrt(d) with q and k the adversary's own projections of the layer's input h (no gradient into h);
link t, t' is kept where s > 0. A second pass over the same rows sees kept links only, in all heads. The network minimises loss +
divergence, half the sum of both KL divergences between the two passes' answers; the adversary maximises divergence + tau^2 x kept links /
rows, through the threshold as if it were a sigmoid: it wants to hurt, and pays for each link that it cuts.
When to use it: fine-tuning where a shortcut in the data is feared; compare it with the same number of passes.
Cost: measured 2.4 times a step (6 blocks of width 64, one thread); two matrices of the width squared a layer, with two moments each,
while the run lasts.
What goes wrong: the adversary finds the shortcut or gives up, depending on rate and seed: in our runs it helped at 1e-3 and not at 3e-3.
Adversary and network are clipped apart, both by the run's learning rate. The adversarial pass computes attention without fused kernels.
What is delivered is the network alone.
Source: arXiv 2206.12608.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

from pydantic import Field

from pliant.errors import PliantError
from pliant.methods.method import Compute, Forward, Method, MethodState, Run
from pliant.models.attention import CUT, linked, self_attention_layers
from pliant.models.modules import evaluating

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pliant.objectives import Batch, Losses

BETAS, EPSILON, CLIP = (0.9, 0.999), 1e-8, 1.0
"""Of the adversary's Adam."""

PARTS = ("query.weight", "query.bias", "key.weight", "key.bias")


class AdversarialSelfAttention(Method):
    """Answer alike without the links that an adversary cuts."""

    holds = frozenset({"gradients", "attention"})
    follows = frozenset({"trained"})
    strength_field = "tau"
    strengths = (1.0, 0.5, 0.25)
    only_named = True
    tau: float = Field(0.5, ge=0, description="What a link that is kept is worth to the adversary, squared; less cuts more")

    def prepare(self, run: Run, state: MethodState) -> None:
        """Make the adversary. Raises PliantError for attention whose links cannot be cut, and answers that are no distribution."""
        import torch

        layers = self_attention_layers(run.network)
        state.objects["names"] = {layer: name for name, layer in layers.items()}
        widths = self._check(run)
        for layer, name in state.objects["names"].items():
            for part in ("query", "key"):
                made = torch.nn.Linear(widths[layer], widths[layer])
                for kind, tensor in made.named_parameters():
                    state.tensors[f"{name}.{part}.{kind}"] = tensor.detach().to(run.model.device)
        for name, tensor in list(state.tensors.items()):
            state.tensors |= {f"{name}.{moment}": torch.zeros_like(tensor) for moment in ("mean", "square")}

    def _check(self, run: Run) -> dict[nn.Module, int]:
        """The width of each layer's input, having seen that with all links there the answers are the network's own."""
        import torch

        widths: dict[nn.Module, int] = {}

        def all_there(layer: nn.Module, hidden: Tensor, blocked: Tensor) -> Tensor:
            widths[layer] = hidden.shape[-1]
            return torch.ones(len(hidden), *blocked.shape[1:], device=hidden.device)

        rows = run.batch(0)[:2]
        with evaluating(run.network), torch.no_grad():
            own = run.objective.distributions(run.objective.losses(run.network, rows), rows)[0]
            with linked(run.network, all_there):
                found = run.objective.distributions(run.objective.losses(run.network, rows), rows)[0]
        if not widths or len(widths) < len(self_attention_layers(run.network)) or not torch.allclose(own, found, rtol=1e-2, atol=1e-3):
            told = "computes attention in a way of its own, in which links cannot be cut"
            raise PliantError(f"adversarial_self_attention: {type(run.network).__name__} {told}")
        return widths

    def loss(self, run: Run, state: MethodState, forward: Forward, batch: Batch) -> Losses:
        """loss + divergence + tau^2 x kept links / rows, the last two with the adversary's gradient reversed."""
        kept: list[Tensor] = []

        def links(layer: nn.Module, hidden: Tensor, blocked: Tensor) -> Tensor:
            kept.append(self.links(state, state.objects["names"][layer], hidden, blocked))
            return kept[-1]

        clean = forward(batch)
        with linked(run.network, links):
            cut = forward(batch)
        (own, rows), (other, _) = (run.objective.distributions(losses, batch) for losses in (clean, cut))
        apart = divergence(own, other)
        each = apart.new_zeros(len(batch)).index_add(0, rows, apart) / rows.bincount(minlength=len(batch)).clamp(min=1)
        total = sum(layer.sum() for layer in kept)
        return clean.plus(each.to(clean.totals.dtype)).plus(self.tau**2 * total / len(batch))

    def links(self, state: MethodState, name: str, hidden: Tensor, blocked: Tensor) -> Tensor:
        """(rows, length, length) 1 where the adversary keeps a link; its gradient is minus that of the sigmoid of the score."""
        from torch.nn.functional import linear

        wq, bq, wk, bk = (state.tensors[f"{name}.{part}"] for part in PARTS)
        h = hidden.detach().to(wq.dtype)
        scores = (linear(h, wq, bq) @ linear(h, wk, bk).transpose(1, 2)).float() / sqrt(h.shape[-1])
        scores = scores.masked_fill(blocked, CUT)
        soft = scores.sigmoid()
        return (scores > 0).to(soft.dtype) - (soft - soft.detach())

    def gradients(self, run: Run, state: MethodState, compute: Compute, batch: Batch) -> Tensor:
        """The network's are left to be followed; the adversary's own step is made here, clipped apart."""
        import torch

        adversary = {name: state.tensors[name] for name in state.tensors if name.endswith(PARTS)}
        for tensor in adversary.values():
            tensor.grad = None
            tensor.requires_grad_()
        loss = compute(batch)
        with torch.no_grad():
            torch.nn.utils.clip_grad_norm_(adversary.values(), CLIP)
            for name, tensor in adversary.items():
                tensor.requires_grad_(False)
                if tensor.grad is not None:
                    adam(tensor, tensor.grad, state.tensors[f"{name}.mean"], state.tensors[f"{name}.square"], run.lr, run.step + 1)
        return loss


def divergence(one: Tensor, other: Tensor) -> Tensor:
    """(predictions,) half the sum of both KL divergences between the distributions that logits (predictions, answers) stand for."""
    p, q = one.log_softmax(-1), other.log_softmax(-1)
    return ((q.exp() - p.exp()) * (q - p)).sum(-1) / 2


def adam(tensor: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, lr: float, step: int) -> None:
    """One step of Adam, in place."""
    mean.lerp_(gradient, 1 - BETAS[0])
    square.lerp_(gradient.square(), 1 - BETAS[1])
    size = (square / (1 - BETAS[1] ** step)).sqrt() + EPSILON
    tensor.sub_(lr / (1 - BETAS[0] ** step) * mean / size)
