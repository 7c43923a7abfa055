"""How a model's weights differ from a base's: the rank of the change, its size, and whether it keeps to the base's main directions.

Idea: for each matrix D = weights - base. Rank: the fewest singular values of D that hold 90% of the sum of their squares, as a fraction
of the short side (`weight_change_rank`) and over that of noise of the same shape (`weight_change_rank_over_noise`: 1 is what any noise
has; of a square matrix noise has 0.51). Size: |D| / |base|, Frobenius. Alignment: the share of |D|^2 between the base's first
`directions` left and right singular vectors, over the share that chance gives. A sample is a matrix; matrices that did not change have
zeros.
When to use it: full fine-tuning beside LoRA, whose rank is at most its own; which layers moved.
Cost: one more copy of the weights, and a singular value decomposition a matrix: minutes at a billion parameters on CPU.
What goes wrong: checkpoints stored in 16 bits differ by rounding, which has the rank of noise: read rank beside size. It says nothing of
whether the change was good.
Source: arXiv 2405.09673 (section on rank); noise: the law of Marchenko and Pastur.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from pliant.errors import PliantError
from pliant.measures.measure import Measure, Reading
from pliant.models.modules import TENSORS, check_finite, select
from pliant.models.stored_model import StoredModel

if TYPE_CHECKING:
    from torch import Tensor

    from pliant.models import Model

ENERGY = 0.9

METRICS = {
    "weight_change_rank": "fraction of the short side",
    "weight_change_rank_over_noise": "times",
    "weight_change_norm": "fraction of the base's",
    "weight_change_alignment": "times chance",
}
"""With their units."""


class WeightChange(Measure):
    """Rank, size and alignment of the difference from a base's weights."""

    base: StoredModel = Field(description="What it is compared with: a checkpoint")
    tensors: str = Field("linear", description=TENSORS)
    directions: int = Field(8, ge=1, description="How many of the base's singular vectors alignment is with")

    def readings(self, model: Model) -> Sequence[Reading]:
        """One value a matrix of each of `METRICS`.

        Raises PliantError for a base with other matrices, and for weights that are not finite.
        """
        rows = dict(self._rows(model))
        values = np.array(list(rows.values()))
        of, ones = self.base.fingerprint(), np.ones(len(rows))
        return [Reading(metric, unit, list(rows), values[:, place], ones, of) for place, (metric, unit) in enumerate(METRICS.items())]

    def _rows(self, model: Model) -> Iterator[tuple[str, list[float]]]:
        base = select(self.base.load(model.device).network, self.tensors)
        for name, weight in select(model.network, self.tensors).items():
            if name not in base or base[name].shape != weight.shape:
                raise PliantError(f"weight_change: the base {self.base.address} has no matrix {name} of this shape")
            for tensor in (weight, base[name]):
                check_finite(name, tensor)
            yield name, change(base[name], weight, self.directions)

    def tokens(self) -> float:
        """None are read."""
        return 0.0


def change(base: Tensor, weight: Tensor, directions: int) -> list[float]:
    """The `METRICS` of one matrix (outputs, inputs), worked out in float32 of a difference taken in float64."""
    import torch

    difference, short, long = (weight.double() - base.double()).float(), min(weight.shape), max(weight.shape)
    if not difference.any():
        return [0.0, 0.0, 0.0, 0.0]
    rank = effective_rank(torch.linalg.svdvals(difference)) / short
    count = min(directions, short)
    u, _, v = torch.linalg.svd(base.float(), full_matrices=False)
    inside = (u[:, :count].T @ difference @ v[:count].T).square().sum() / difference.square().sum()
    size = difference.norm() / base.float().norm()
    return [rank, rank / noise_rank(short / long), float(size), float(inside) * short * long / count**2]


def effective_rank(singular: Tensor) -> int:
    """The fewest singular values (falling) whose squares make up `ENERGY` of the sum of all squares."""
    share = singular.double().square().cumsum(0)
    return int((share < ENERGY * share[-1] * (1 - 1e-6)).sum()) + 1


@cache
def noise_rank(aspect: float) -> float:
    """What `effective_rank` of a large matrix of independent noise is, as a fraction of its short side; `aspect` is short over long."""
    low, high = (1 - aspect**0.5) ** 2, (1 + aspect**0.5) ** 2
    angle = (np.arange(100_000) + 0.5) * (np.pi / 200_000)  # x from high to low, where its density is without poles
    x = low + (high - low) * np.cos(angle) ** 2
    density = (np.sin(angle) * np.cos(angle)) ** 2 / x
    energy = np.cumsum(x * density)
    return float(np.cumsum(density)[np.searchsorted(energy, ENERGY * energy[-1])] / density.sum())
