"""The published ways of merging, one function each: what they look at in a whole tensor, then what they make of each piece of it.

Idea: b is the base's tensor, d_i = o_i - b what checkpoint i has over it, w the weight of the whole merge, s_i that of checkpoint i.

    linear            (b + w sum s_i o_i) / (1 + w sum s_i)
    wise_ft           (1 - w) b + w o
    slerp             along the great circle from b to o, the share w of its angle
    task_arithmetic   b + w sum s_i d_i
    ties              b + w mean of s_i trim(d_i) over those whose sign won
    dare_linear       b + w sum s_i drop(d_i) / density
    dare_ties         ties of drop(d_i) / density

Arithmetic is in float64, so that what comes out is the exact result rounded once. A tensor is what is trimmed, turned and dropped in.
What goes wrong: equal magnitudes at TIES's limit are all kept, a sign whose votes cancel counts as plus, tensors nearly parallel
(|cos| > 0.9995) are interpolated linearly by slerp, and one of zeros stands at a right angle to all others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import acos, sin, sqrt
from typing import TYPE_CHECKING

from pliant.merging.pieces import Tensors

if TYPE_CHECKING:
    from torch import Tensor

PARALLEL = 0.9995
"""The cosine beyond which an angle is too small to divide by its sine."""
NOTHING = 1e-8
"""The norm below which a tensor has no direction."""


@dataclass(frozen=True)
class Setting:
    """What a merge is told."""

    weight: float
    shares: tuple[float, ...]
    density: float = 1.0
    seed: str = ""


Combine = Callable[["Tensor", "list[Tensor]"], "Tensor"]
"""Makes the merged piece of the base's and the others'."""


def linear(tensors: Tensors, told: Setting) -> Combine:
    """The weighted mean of all, the base one of them: a model soup."""
    factors = [told.weight * share for share in told.shares]
    total = 1 + sum(factors)
    return lambda base, others: sum((other * factor for other, factor in zip(others, factors, strict=True)), base) / total


def wise_ft(tensors: Tensors, told: Setting) -> Combine:
    """Between the base and what was fine-tuned from it."""
    return lambda base, others: (1 - told.weight) * base + told.weight * others[0]


def slerp(tensors: Tensors, told: Setting) -> Combine:
    """Along the arc, which keeps the norm of tensors of equal norm."""
    dot = squares = others_squares = 0.0
    for _, base, (other,) in tensors.pieces():
        dot += float(base @ other)
        squares += float(base @ base)
        others_squares += float(other @ other)
    norms = [sqrt(total) if sqrt(total) > NOTHING else 1.0 for total in (squares, others_squares)]
    cosine = max(-1.0, min(1.0, dot / norms[0] / norms[1]))
    if abs(cosine) > PARALLEL:
        return wise_ft(tensors, told)
    angle = acos(cosine)
    left, right = sin((1 - told.weight) * angle) / sin(angle), sin(told.weight * angle) / sin(angle)
    return lambda base, others: left * base + right * others[0]


def task_arithmetic(tensors: Tensors, told: Setting) -> Combine:
    """The sum of what each has learned."""
    return lambda base, others: base + told.weight * _sum([other - base for other in others], told.shares)


def ties(tensors: Tensors, told: Setting) -> Combine:
    """Trim what changed least, elect a sign for each number, and take the mean of those that agree."""
    floors = [_floor(tensors, number, told.density) for number in range(len(told.shares))]

    def combine(base: Tensor, others: list[Tensor]) -> Tensor:
        differences = [other - base for other in others]
        kept = [d * (d.abs().float() >= floor) for d, floor in zip(differences, floors, strict=True)]
        return base + told.weight * _agreed(kept, told.shares)

    return combine


def dare_linear(tensors: Tensors, told: Setting) -> Combine:
    """Drop changes at random, the rest so much larger that their expectation stays, and add them."""
    drop = _drop(tensors, told)
    return lambda base, others: base + told.weight * _sum(drop(base, others), told.shares)


def dare_ties(tensors: Tensors, told: Setting) -> Combine:
    """Drop changes at random, then elect signs as TIES does."""
    drop = _drop(tensors, told)
    return lambda base, others: base + told.weight * _agreed(drop(base, others), told.shares)


def _sum(differences: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    total = differences[0] * shares[0]
    for difference, share in zip(differences[1:], shares[1:], strict=True):
        total.add_(difference, alpha=share)
    return total


def _agreed(differences: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    """The weighted mean, number by number, of those whose sign is that of the sum; zeros have no vote."""
    import torch

    plus = _sum(differences, shares) >= 0
    total, weight = torch.zeros_like(differences[0]), torch.zeros_like(differences[0])
    for difference, share in zip(differences, shares, strict=True):
        agrees = torch.where(plus, difference > 0, difference < 0)
        total.add_(difference * agrees, alpha=share)
        weight.add_(agrees, alpha=share)
    return total / torch.where(weight == 0, 1.0, weight)


def _floor(tensors: Tensors, number: int, density: float) -> float:
    """The least magnitude, in float32, among the share `density` of a checkpoint's changes that is largest."""
    import numpy as np

    if density >= 1 or not tensors.count:
        return 0.0
    magnitudes = np.empty(tensors.count, np.float32)
    begin = 0
    for difference in tensors.differences(number):
        magnitudes[begin : begin + len(difference)] = difference.abs().numpy()
        begin += len(difference)
    place = len(magnitudes) - max(1, int(density * len(magnitudes)))
    magnitudes.partition(place)
    return float(magnitudes[place])


def _drop(tensors: Tensors, told: Setting) -> Callable[[Tensor, list[Tensor]], list[Tensor]]:
    """Which numbers are kept is a pure function of the seed, the tensor's name, and the checkpoint's place among the others."""
    import torch

    generators: list[torch.Generator] = []
    for number in range(len(told.shares)):
        key = hashlib.sha256(f"{told.seed} {number} {tensors.name}".encode()).digest()
        generators.append(torch.Generator().manual_seed(int.from_bytes(key[:7], "big")))

    def drop(base: Tensor, others: list[Tensor]) -> list[Tensor]:
        kept = [torch.rand(len(base), generator=generator, dtype=torch.float64) < told.density for generator in generators]
        return [(other - base) * keep / told.density for other, keep in zip(others, kept, strict=True)]

    return drop


@dataclass(frozen=True)
class Formula:
    """A way of merging, and what it takes."""

    of: Callable[[Tensors, Setting], Combine]
    single: bool = False
    """Whether it is of the base and one other."""
    sparse: bool = False
    """Whether it leaves part of the changes out, by a density."""
    random: bool = False
    mean: bool = False
    """Whether what comes out lies between what goes in, so that it holds for variances too."""
    signed: bool = False
    """Whether a checkpoint's weight may be below zero, which takes away what it has learned."""


FORMULAS = {
    "linear": Formula(linear, mean=True),
    "wise_ft": Formula(wise_ft, single=True, mean=True),
    "slerp": Formula(slerp, single=True),
    "task_arithmetic": Formula(task_arithmetic, signed=True),
    "ties": Formula(ties, sparse=True),
    "dare_linear": Formula(dare_linear, sparse=True, random=True, signed=True),
    "dare_ties": Formula(dare_ties, sparse=True, random=True),
}
