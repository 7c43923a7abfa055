"""Which tensor gets how many bits, under a limit on the size of the whole.

Idea: each tensor offers a choice of (size, predicted loss rise). Rises of different tensors are taken to add up, so the best
choice under a size limit is a knapsack: keep each tensor's lower convex hull, start everything at its smallest, and spend the
limit on the steps that lower the rise most per bit. On hulls that greedy is optimal up to one unfinished step; a last pass
spends what is left over on any single upgrade that still fits.
When to use it: after one sensitivity pass (`measures.curvature`), instead of trying allocations.
Cost: sorting. What goes wrong: rises do not quite add up at 2-3 bits; measure the allocation before believing its prediction.
Source: bit allocation by marginal return goes back to rate-distortion practice (Shoham and Gersho 1988).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from pliant.errors import PliantError
from pliant.numbers import format_count

Choices = Mapping[int, tuple[float, float]]
"""bits -> (size in bits, predicted rise in nats/token) of one tensor."""


@dataclass(frozen=True)
class Allocation:
    """Bits for each tensor, with what they add up to."""

    bits: dict[str, int]
    size: float
    """In bits."""
    rise: float
    """Predicted, nats/token."""


def allocate(tensors: Mapping[str, Choices], limit: float) -> Allocation:
    """The choice of bits with the least total rise whose total size is at most `limit` bits.

    Raises PliantError when even the smallest choices are larger than the limit.
    """
    hulls = {name: lower_hull(choices) for name, choices in tensors.items()}
    taken = {name: hull[0] for name, hull in hulls.items()}
    size = sum(tensors[name][bits][0] for name, bits in taken.items())
    if size > limit:
        raise PliantError(f"the smallest allocation takes {format_count(size / 8)} bytes, more than the limit of {format_count(limit / 8)}")
    steps = sorted((step for name, hull in hulls.items() for step in _steps(name, tensors[name], hull)), reverse=True)
    blocked: set[str] = set()
    for _, name, bits in steps:
        extra = tensors[name][bits][0] - tensors[name][taken[name]][0]
        if name in blocked or size + extra > limit:
            blocked.add(name)
        else:
            taken[name], size = bits, size + extra
    taken, size = _spend_the_rest(tensors, taken, size, limit)
    return Allocation(taken, size, sum(tensors[name][bits][1] for name, bits in taken.items()))


def lower_hull(choices: Choices) -> list[int]:
    """The choices that some price per bit makes the best, from the smallest: each step buys less per bit than the one before."""
    hull: list[int] = []
    for bits in sorted(choices, key=lambda b: choices[b]):
        if hull and choices[bits][1] >= choices[hull[-1]][1]:
            continue
        while len(hull) > 1 and _return(choices, hull[-1], bits) >= _return(choices, hull[-2], hull[-1]):
            hull.pop()
        hull.append(bits)
    return hull


def _return(choices: Choices, smaller: int, larger: int) -> float:
    """Rise avoided per bit of size, going from one choice to a larger one."""
    return (choices[smaller][1] - choices[larger][1]) / (choices[larger][0] - choices[smaller][0])


def _steps(name: str, choices: Choices, hull: list[int]) -> list[tuple[float, str, int]]:
    return [(_return(choices, smaller, larger), name, larger) for smaller, larger in itertools.pairwise(hull)]


def _spend_the_rest(tensors: Mapping[str, Choices], taken: dict[str, int], size: float, limit: float) -> tuple[dict[str, int], float]:
    """Upgrade one tensor at a time, by the most useful upgrade that still fits, for as long as there is one."""
    while True:
        fitting = [
            (tensors[name][now][1] - rise, name, bits)
            for name, now in taken.items()
            for bits, (cost, rise) in tensors[name].items()
            if rise < tensors[name][now][1] and size + cost - tensors[name][now][0] <= limit
        ]
        if not fitting:
            return taken, size
        _, name, bits = max(fitting)
        size += tensors[name][bits][0] - tensors[name][taken[name]][0]
        taken = {**taken, name: bits}
