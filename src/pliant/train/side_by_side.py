"""Several runs of LoRA from one base, side by side: the rows of all arms go through the frozen layers together.

Idea: arms differ in learning rate, seed, rank and scale, and share the base. One pass holds the rows of every arm, one arm after the
other; each frozen layer multiplies them all at once, and beside each adapted one two batched products add every arm's own update
(ranks filled up with zeros, which stay zeros). Gradients are clipped arm by arm; an optimizer's step at rate 1 is scaled by each arm's
rate, since steps of AdamW, Lion and SGD are in proportion to it. Losses and weights are those of one arm after the other, to rounding.
When to use it: searches over small networks, where most of a step is overhead.
Cost: activations of all arms at once; `MOST_NUMBERS` bounds those of the logits.
What goes wrong: what draws at random in training, batch norm, heads that are trained, losses of rows together: such arms are trained one
by one. An arm that diverges leaves no state, and is trained again alone, for its error.
Every arm leaves the very state that `train` goes on from, and finishes there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from pliant.models.batch_norm import norms_with_statistics
from pliant.models.heads import fitted
from pliant.models.modules import dropouts
from pliant.objectives import Batch
from pliant.train.factor_stack import MARK, FactorStack, KeptArm, NotTogether, SharedArm
from pliant.train.recipe import Recipe

if TYPE_CHECKING:
    from torch import Tensor

    from pliant.models import Model
    from pliant.objectives import Objective

MOST_NUMBERS = 2**28
"""Logits of one pass, all arms together."""
SAVE_EVERY = 20.0
"""Seconds between two saved states."""


def why_alone(model: Model, objective: Objective, arms: Sequence[SharedArm]) -> str:
    """Why these arms cannot be trained side by side, in words; empty where they can."""
    if len(arms) < 2:
        return "there is one arm"
    if any(len(arm.methods) != 1 or not arm.methods[0].factors_alone for arm in arms):
        return "an arm trains more than LoRA's factors, or drops inputs"
    if any(arm.recipe.model_copy(update={"lr": arms[0].recipe.lr}) != arms[0].recipe for arm in arms):
        return "the recipes differ in more than the learning rate"
    needs = objective.needs()
    other = needs is not None and (needs.task != model.task.name or needs.labels is not None or fitted(model, needs) is not model)
    if objective.rows_together or model.task.labelled or other:
        return "rows hang together, or a head is trained"
    if any(rate for _, _, rate in dropouts(model.network)) or norms_with_statistics(model.network):
        return "the base drops at random, or keeps statistics of its batches"
    return ""


def most_together(model: Model, recipe: Recipe) -> int:
    """How many arms a pass can hold."""
    answers = int(getattr(model.network.config, "vocab_size", None) or 1)
    return max(1, MOST_NUMBERS // (recipe.batch * (recipe.length or model.context) * answers))


def train_side_by_side(
    model: Model, objective: Objective, arms: Sequence[SharedArm], points: Sequence[int], at: Callable[[int, int], None] | None = None
) -> None:
    """Train all arms up to the last of `points`, going on from the states in their folders, and leave states there.

    At each point, and for each arm that has not diverged, `at(number of the arm, point)` is called with the arm's update merged into
    `model.network`. An arm that diverged leaves no state. The network is left as it was. Raises PliantError for data that cannot be
    read, and NotTogether for arms that cannot be trained together (`why_alone`), or have made different numbers of steps.
    """
    if reason := why_alone(model, objective, arms):
        raise NotTogether(reason)
    kept = [KeptArm.begun(model, objective, arm) for arm in arms]
    first = kept[0]
    if any(one.made != first.made or one.shapes.keys() != first.shapes.keys() for one in kept):
        raise NotTogether("the arms have made different numbers of steps, or adapt different layers")
    try:
        for point in points:
            while first.made < min(point, first.run.steps):
                _stretch(model, objective, kept, min(point, first.run.steps))
                if first.made < point:
                    _save(kept)
            for number, one in enumerate(kept):
                if at is not None and not one.diverged:
                    with one.merged():
                        at(number, point)
    finally:  # also where somebody stops it
        _save(kept)


def _save(kept: Sequence[KeptArm]) -> None:
    for one in kept:
        one.save()


def _stretch(model: Model, objective: Objective, kept: Sequence[KeptArm], end: int) -> None:
    """Train up to a step, or for so long that states are to be saved."""
    start, step = time.monotonic(), kept[0].made
    with FactorStack(model.network, kept) as stack:
        while step < end and time.monotonic() - start < SAVE_EVERY:
            rates = [one.arm.recipe.rate(step, one.run.steps) for one in kept]
            losses = _gradients(stack, objective, kept, step)
            stack.step(rates)
            step += 1
            for one, loss, rate in zip(kept, losses, rates, strict=True):
                one.add(loss, rate)
        stack.give_back()


def _gradients(stack: FactorStack, objective: Objective, kept: Sequence[KeptArm], step: int) -> Tensor:
    """Leaves every arm's own gradients, and returns every arm's loss (arms,)."""
    import torch

    recipe, device = kept[0].arm.recipe, kept[0].run.model.device
    stack.factors.grad = None
    batches = [one.run.batch(step) for one in kept]
    wholes = torch.stack([batch.weights.sum() for batch in batches]).to(device)
    total = torch.zeros(len(kept), device=device)
    for parts in zip(*(batch.split(recipe.batch) for batch in batches), strict=True):
        together = _joined(parts)
        passes = [(together, range(len(kept)))] if together else [(_marked(part, n), range(n, n + 1)) for n, part in enumerate(parts)]
        for batch, numbers in passes:
            with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
                found = objective.losses(cast("Any", stack), batch)
            sums, weights = (values.view(len(numbers), -1).sum(1) for values in (found.totals, found.weights.to(device)))
            share = weights / wholes[numbers.start : numbers.stop]
            losses = share * sums / weights
            losses.sum().backward()
            total[numbers.start : numbers.stop] += losses.detach()
    return total


def _marked(batch: Batch, number: int) -> Batch:
    """The rows of one arm, which go through the objective with its number."""
    import torch

    mark = torch.full((len(batch), 1), number, device=batch.targets.device)
    return replace(batch, inputs={**batch.inputs, MARK: mark})


def _joined(parts: Sequence[Batch]) -> Batch | None:
    """The rows of all arms, one arm after the other; None where they are of different shapes."""
    import torch

    marked = [_marked(part, number) for number, part in enumerate(parts)]
    first = marked[0]

    def shapes(batch: Batch) -> list[Any]:
        named = [*batch.inputs.items(), *batch.known.items(), ("targets", batch.targets)]
        return [(name, tensor.shape, tensor.dtype) for name, tensor in named]

    if any(shapes(part) != shapes(first) for part in marked):
        return None
    inputs, known = (
        {name: torch.cat([getattr(part, what)[name] for part in marked]) for name in getattr(first, what)} for what in ("inputs", "known")
    )
    targets, weights = (torch.cat([getattr(part, what) for part in marked]) for what in ("targets", "weights"))
    return Batch(np.concatenate([part.numbers for part in marked]), inputs, targets, weights, known)
