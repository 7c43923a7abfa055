"""Sharpness-aware minimisation: the gradient that is followed is the one a step uphill.

Idea: eps = rho g / |g| with g the gradient at the weights, and the step is made with the gradient at weights + eps. `variant` says of
what g is, and what is taken there: `batch`: g of the whole step (n-SAM); `example`: an eps for each row (1-SAM). With p the derivative of
a row's loss in the network's answer F, a row's gradient is <p, grad F>: `logit` (L-SAM) takes p uphill and grad F at the weights,
`jacobian` (J-SAM) p at the weights and grad F uphill. `layers: head` climbs in the head alone, and still trains everything.
When to use it: wrong labels, spurious features, flat minima. J-SAM and L-SAM are for finding out why.
Cost: two steps a step. By rows: two (L-SAM three) passes a row, one row at a time, so as many times slower as rows gain from going
together.
What goes wrong: by rows rho is to be ten times smaller (0.003 to 0.01; 0.1 ruined small networks, by the penalty on activations that it
amounts to). Batch norm has no rows of its own: refused there. It trains longer in effect: compare at matched loss, at twice the steps.
Clipping acts on the gradient that is followed. Both passes see the same dropout, and the second one leaves batch norm's statistics alone.
Source: arXiv 2010.01412; adaptive, arXiv 2102.11600; by rows, L-SAM and J-SAM, arXiv 2405.03676; last layer, arXiv 2405.20439.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from pliant.errors import PliantError
from pliant.methods.method import Compute, Forward, Method, MethodState, Run
from pliant.models.batch_norm import norms_with_statistics
from pliant.models.modules import head_weights

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter

    from pliant.objectives import Batch, Losses


class Sam(Method):
    """Follow the gradient of a step uphill."""

    holds = frozenset({"gradients"})
    follows = frozenset({"trained"})
    strength_field = "rho"
    strengths = (0.01, 0.05, 0.2)
    only_named = True
    steep = ("rho",)
    rho: float = Field(0.05, gt=0, description="Length of the step uphill")
    variant: Literal["batch", "example", "logit", "jacobian"] = Field(
        "batch", description="batch: one step uphill for all rows (n-SAM); example: one for each (1-SAM); logit, jacobian: one half of that"
    )
    adaptive: bool = Field(False, description="Measure the step relative to the weights (ASAM)")
    layers: Literal["all", "head"] = Field("all", description="What is moved uphill; everything is trained either way")

    def prepare(self, run: Run, state: MethodState) -> None:
        """Raises PliantError for rows of batch norm, and a head that is not trained."""
        if self.variant != "batch" and norms_with_statistics(run.network):
            raise PliantError(f"sam: variant {self.variant} looks at rows one by one, and batch norm at all at once; take variant batch")
        state.objects["moved"] = list(self._moved(run).values())
        state.objects["statistics"] = [buffer for layer in norms_with_statistics(run.network) for buffer in layer.buffers()]
        if not state.objects["moved"]:
            raise PliantError("sam: layers head, and no weight of the head is trained; take layers all")

    def gradients(self, run: Run, state: MethodState, compute: Compute, batch: Batch) -> Tensor:
        """Of the whole step, or the weighted mean over rows; the log keeps the loss at the weights."""
        if self.variant == "batch":
            return self._uphill(run, state, compute, batch)
        parameters = run.parameters().values()
        total, loss = [p.new_zeros(p.shape) for p in parameters], batch.weights.new_zeros(())
        for row in batch.split(1):
            share = row.weights.sum() / batch.weights.sum()
            loss = loss + share * self._uphill(run, state, compute, row).to(loss.device)
            for gradient, p in zip(total, parameters, strict=True):
                if p.grad is not None:
                    gradient.add_(p.grad, alpha=float(share))
        for gradient, p in zip(total, parameters, strict=True):
            p.grad = gradient
        return loss

    def _uphill(self, run: Run, state: MethodState, compute: Compute, batch: Batch) -> Tensor:
        """Leaves the gradient to be followed, and returns the loss at the weights."""
        with _same_draws(run), _derivatives(state, "kept" if self.variant == "jacobian" else ""):
            loss = compute(batch)
        stage = {"logit": "kept", "jacobian": "used"}.get(self.variant, "")
        with _same_draws(run, again=self.variant == "logit"), self._climbed(state), _derivatives(state, stage):
            compute(batch)
        if self.variant == "logit":
            with _derivatives(state, "used"):
                compute(batch)
        return loss

    @contextmanager
    def _climbed(self, state: MethodState) -> Generator[None]:
        """The weights a step uphill along their gradients; back to the bit after it, as are batch norm's statistics."""
        import torch

        moved = [p for p in state.objects["moved"] if p.grad is not None]
        before = [(tensor, tensor.detach().clone()) for tensor in (*moved, *state.objects["statistics"])]
        with torch.no_grad():
            scales = [p.abs() for p in moved] if self.adaptive else []
            uphill = [scale * p.grad for scale, p in zip(scales, moved, strict=True)] if scales else [p.grad for p in moved]
            far = self.rho / (torch.stack([step.norm() for step in uphill]).norm() + 1e-12)
            for number, (p, step) in enumerate(zip(moved, uphill, strict=True)):
                p.addcmul_(step * scales[number] if scales else step, far.to(p.dtype))
        try:
            yield
        finally:
            with torch.no_grad():
                for tensor, kept in before:
                    tensor.copy_(kept)

    def _moved(self, run: Run) -> dict[str, Parameter]:
        head = head_weights(run.network) if self.layers == "head" else None
        return {name: p for name, p in run.parameters().items() if head is None or name in head}

    def loss(self, run: Run, state: MethodState, forward: Forward, batch: Batch) -> Losses:
        """One pass: as it is, or with its derivatives in the answer kept, or with <kept derivatives, answer> in place of the loss."""
        losses, stage = forward(batch), state.objects.get("stage")
        if not stage:
            return losses
        answers = _answers(losses)
        if stage == "used":
            inner = sum((p * F).sum() for p, F in zip(state.objects["derivatives"], answers, strict=True))
            return replace(losses, totals=losses.weights * inner)
        kept = state.objects["derivatives"] = [F.new_zeros(F.shape) for F in answers]
        for p, F in zip(kept, answers, strict=True):
            F.register_hook(p.copy_)
        return losses


def _answers(losses: Losses) -> list[Tensor]:
    """What the network answered, in as many parts as it was asked."""
    outputs: list[Any] = losses.output if isinstance(losses.output, list) else [losses.output]
    return [getattr(output, "logits", output) for output in outputs]


@contextmanager
def _derivatives(state: MethodState, stage: str) -> Generator[None]:
    """Whether a pass inside keeps derivatives, uses those kept, or does neither."""
    state.objects["stage"] = stage
    try:
        yield
    finally:
        state.objects["stage"] = ""


@contextmanager
def _same_draws(run: Run, again: bool = True) -> Generator[None]:
    """What is drawn inside is drawn again after it."""
    import torch

    device = run.model.device
    with torch.random.fork_rng([device] if device.type == "cuda" else [], enabled=again):
        yield
