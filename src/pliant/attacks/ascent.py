"""The walk that gradient attacks share: uphill, step by step, inside a ball.

What is climbed is a row's loss; with a target, how sure the network is of that instead; with `margin`, by how much the likeliest wrong
class beats the right one, which still has a gradient where a loss has rounded to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from pliant.errors import PliantError
from pliant.models.heads import outputs
from pliant.models.modules import evaluating

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pliant.attacks.attack import Costing
    from pliant.attacks.ball import Ball
    from pliant.attacks.spaces import Space
    from pliant.models import Model
    from pliant.objectives import Batch

Climbed = Literal["loss", "margin"]


def height(model: Model, objective: Costing, climbed: Climbed, target: str | None) -> Callable[[Batch], Tensor]:
    """How far an attack has got with each row, (rows,): what it climbs. Raises PliantError for a class that the model does not know."""
    import torch

    wanted = None if target is None else class_output(model, objective, target)

    def found(batch: Batch) -> Tensor:
        if wanted is not None:
            batch = replace(batch, targets=batch.targets.new_full((len(batch),), wanted, dtype=torch.int64))
        losses = objective.losses(model.network, batch)
        if climbed == "margin":
            high = margins(losses.output, batch.targets)
            if high is None:
                raise PliantError("margin is between classes, and this objective answers with none; climb the loss")
        else:
            high = losses.totals
        return high if wanted is None else -high

    return found


def class_output(model: Model, objective: Costing, target: str) -> int:
    """Which output stands for a class: of the objective's own where it has some, else of the head."""
    names = getattr(objective, "classes", None)
    if names is None:
        return outputs(model, [target])[0]
    if target not in names:
        raise PliantError(f"target {target[:40]!r} is no class of the data, which has {', '.join(names[:6])}")
    return list(names).index(target)


def margins(output: Any, targets: Tensor) -> Tensor | None:
    """(rows,) the largest logit of another class minus that of the target; None where rows have not one class each."""
    logits = getattr(output, "logits", None)
    if logits is None or logits.ndim != 2 or targets.ndim != 1 or targets.is_floating_point():
        return None
    own = logits.gather(1, targets[:, None])
    return (logits.scatter(1, targets[:, None], float("-inf")).amax(1, keepdim=True) - own)[:, 0]


def ascend(
    model: Model,
    space: Space,
    ball: Ball,
    high: Callable[[Batch], Tensor],
    move: Tensor,
    steps: int,
    step: float,
    momentum: float = 0.0,
) -> Tensor:
    """Where so many steps of that length lead from `move`; `momentum` is what is left of earlier gradients at each of them.

    Only inputs get gradients. Raises PliantError for a gradient that is not finite.
    """
    import torch

    gathered: Tensor | None = None
    with evaluating(model.network), frozen(model.network), torch.enable_grad():
        for _ in range(steps):
            move.requires_grad_(True)
            (gradient,) = torch.autograd.grad(high(space.batch(move)).sum(), move)
            if not torch.isfinite(gradient).all():
                told = "the gradient of the loss is not finite; its weights are damaged, or its number type is too narrow"
                raise PliantError(f"{model.checkpoint.address}: {told}")
            if momentum:
                even = gradient / gradient.abs().mean((1, 2), keepdim=True).clamp_min(1e-30)
                gathered = gradient = even if gathered is None else momentum * gathered + even
            move = space.inside(ball.project(move.detach() + step * ball.direction(gradient)))
    return move.detach()


@contextmanager
def frozen(network: nn.Module) -> Generator[None]:
    """Parameters that ask for no gradients inside the block, so that nothing is kept for them; as they were after it."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
