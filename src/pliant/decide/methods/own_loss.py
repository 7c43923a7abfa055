"""An objective's own loss on held-out examples, one by one: of labels, numbers, pairs, contrast, for which there is no measure of it.

Idea: the examples are read once, as the base sees them (the reference of preferences is the base), and go through every network in the
same batches. Two halves of whole batches: one to choose by, one to judge by.
What goes wrong: where rows of a batch hang together (contrast), its batches are what varies independently: few, unless there are many.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from pliant.errors import PliantError
from pliant.measures import Reading
from pliant.models.modules import evaluating

if TYPE_CHECKING:
    from pliant.measures.measure import Read
    from pliant.models import Model
    from pliant.objectives import Batch, Examples, Objective

ROWS = 32
"""Of a batch at most; less for few examples."""


def own_losses(objective: Objective, model: Model, samples: int) -> tuple[Read, Read]:
    """What reads either half of at most `samples` held-out examples each. Raises PliantError for fewer than two examples."""
    examples = objective.held_out().examples(model, None)
    half = _count(examples, 2 * samples) // 2
    if not half:
        raise PliantError("its held-out part is a single example, which cannot both choose and judge; add data")
    batches = -(-half // ROWS) if not objective.rows_together else max(-(-half // ROWS), min(half // 2, 8))
    rows = half // max(batches, 1)
    made = [examples.batch(number, rows, 0) for number in range(2 * batches)]
    told = partial(_read, objective, examples, getattr(examples, "ids", None))
    return partial(told, made[:batches]), partial(told, made[batches:])


def _count(examples: Examples, most: int) -> int:
    """How many examples there are, up to `most`: those of the first epoch."""
    seen = set[int]()
    for step in range(most):
        number = int(examples.batch(step, 1, 0).numbers[0])
        if number in seen:
            break
        seen.add(number)
    return len(seen)


def _read(
    objective: Objective, examples: Examples, names: Sequence[str] | None, batches: Sequence[Batch], model: Model
) -> Sequence[Reading]:
    """Raises PliantError for losses that are no finite numbers."""
    import torch

    values, weights = list[np.ndarray](), list[np.ndarray]()
    with torch.no_grad(), evaluating(model.network):
        for batch in batches:
            losses = objective.losses(model.network, batch.to(model.device))
            values.append(losses.values.double().cpu().numpy())
            weights.append(losses.weights.double().cpu().numpy())
    numbers = np.concatenate([batch.numbers for batch in batches])
    ids = [str(names[number]) if names is not None else f"example{number}" for number in numbers.tolist()]
    together = [f"batch{place}" for place, batch in enumerate(batches) for _ in batch.numbers]
    clusters = together if objective.rows_together else [str(number) for number in numbers.tolist()]
    return [
        Reading(
            objective.kind, objective.unit, ids, np.concatenate(values), np.concatenate(weights), examples.fingerprint, clusters=clusters
        )
    ]
