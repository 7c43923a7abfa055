"""Many linear heads on the features of one frozen trunk, trained side by side: an ensemble that agreement can be read off.

Idea: all heads see the features once read; their weights are one tensor (heads, width, classes), and a step of plain SGD on the
cross-entropy moves them all. They are unlike in one thing: `head` starts each from its own random weights (standard normal, large enough
to outlive training) with one order of the data; `order` shows each the data in its own order; `subset` shows each a random tenth of it.
Each is trained for its own number of steps, evenly spaced in the logarithm, so that accuracies differ.
What goes wrong: order and subset leave heads too alike for agreement to tell accuracy (arXiv 2404.01542, and our own digits).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pliant.errors import PliantError
from pliant.statistics import Array

Diversity = Literal["head", "order", "subset"]
SHARE = 0.1
"""Of the data, for each head, where heads are unlike in that."""
ROWS = 64
"""Examples of a step."""


@dataclass(frozen=True)
class Heads:
    """Linear classifiers: weights (heads, width, classes) and biases (heads, classes), of features that were standardised first."""

    weights: Array
    biases: Array
    mean: Array
    deviation: Array

    def chances(self, features: Array) -> Array:
        """(heads, items, classes) of (items, width) features."""
        logits = ((features - self.mean) / self.deviation) @ self.weights + self.biases[:, None]
        chances = np.exp(logits - logits.max(-1, keepdims=True))
        return chances / chances.sum(-1, keepdims=True)


def trained_heads(
    features: Array,
    labels: NDArray[np.int64],
    classes: int,
    count: int,
    diversity: Diversity,
    rate: float,
    steps: tuple[int, int],
    seed: int,
) -> Heads:
    """`count` heads on (examples, width) features; training lasts from the first to the second of `steps`.

    Raises PliantError for fewer than three heads, and for no features that differ.
    """
    import torch

    if count < 3:
        raise PliantError(f"{count} heads are too few: agreement on the line takes 3 or more")
    if not 1 <= steps[0] <= steps[1]:
        raise PliantError(f"training for {steps[0]} to {steps[1]} steps is no range")
    mean, deviation = features.mean(0), np.maximum(features.std(0), 1e-6)
    inputs = torch.from_numpy((features - mean) / deviation).float()
    targets = torch.nn.functional.one_hot(torch.from_numpy(labels), classes).float()
    generator = np.random.default_rng(seed)
    starts = 1 if diversity != "head" else count
    drawn = generator.standard_normal((starts, features.shape[1], classes)).astype(np.float32)
    weights = torch.from_numpy(np.repeat(drawn, count // starts, 0))
    biases = torch.zeros(count, 1, classes)
    lasts = np.unique(np.round(np.geomspace(*steps, count)), return_inverse=True)
    ends = lasts[0][lasts[1]].astype(int)
    pools = _pools(len(features), count, diversity, generator)
    for step in range(steps[1]):
        going = torch.from_numpy(ends > step)
        rows = torch.from_numpy(_rows(pools, step, seed))  # (heads or 1, rows)
        some, wanted = inputs[rows], targets[rows]
        error = ((some @ weights + biases).softmax(-1) - wanted) / rows.shape[1] * going[:, None, None]
        weights -= rate * some.transpose(1, 2) @ error
        biases -= rate * error.sum(1, keepdim=True)
    if not torch.isfinite(weights).all():
        raise PliantError(f"the heads' weights are no finite numbers at rate {rate:g}; lower it")
    return Heads(weights.double().numpy(), biases[:, 0].double().numpy(), mean, deviation)


def _pools(examples: int, heads: int, diversity: Diversity, generator: np.random.Generator) -> list[NDArray[np.int64]]:
    """What each head draws from; one pool for all where they see the same."""
    if diversity == "head":
        return [np.arange(examples)]
    size = max(1, round(SHARE * examples)) if diversity == "subset" else examples
    return [generator.permutation(examples)[:size] for _ in range(heads)]


def _rows(pools: list[NDArray[np.int64]], step: int, seed: int) -> NDArray[np.int64]:
    """(pools, rows) of this step: every pool's own order, drawn again in every epoch."""
    size = min(ROWS, len(pools[0]))
    epoch, place = divmod(step * size, len(pools[0]) - len(pools[0]) % size)
    orders = (np.random.default_rng([seed, number, epoch]).permutation(pool) for number, pool in enumerate(pools))
    return np.stack([order[place : place + size] for order in orders])
