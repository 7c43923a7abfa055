"""The scale a choice is asked at: what it says, and where it lies on the axis of log compute."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pliant.decide.fits.asked import possible
from pliant.decide.groups.cells import SAME, Cells, Scale
from pliant.decide.groups.table import FLOPS
from pliant.errors import PliantError
from pliant.numbers import format_count
from pliant.spec import nearest

KNOWN = ("compute", "N", "D")


def kind_of(at: Mapping[str, float]) -> Scale:
    """Whether each group's best at a compute is asked for, or the same run. Raises PliantError for anything else."""
    for name, value in at.items():
        if name not in KNOWN:
            raise PliantError(f"--at {name}: say compute=X, or N=X,D=X; {nearest(name, KNOWN)}")
        possible(name, value)
    if set(at) == {"compute"}:
        return "compute"
    if set(at) == {"N", "D"}:
        return "run"
    raise PliantError("at which scale? Say compute=X (each group's best run there), or N=X,D=X (the same run of each)")


def place_of(at: Mapping[str, float], cells: Cells) -> float:
    """Log compute of the question, counted as a step from the nearest or last of `cells`. Raises PliantError below all of them."""
    if cells.scale == "compute":
        target = float(np.log(at["compute"]))
    else:
        asked = np.log([at["N"], at["D"]])
        steps = np.abs(np.log(np.array(cells.runs)) - asked).sum(axis=1)
        measured = int(np.argmin(steps))
        if steps[measured] <= 2 * SAME:
            return float(cells.position[measured])
        target = float(np.log(FLOPS) + asked.sum())
        if target >= cells.position[-1]:  # fewer tokens on a larger model are a step away as well
            target = max(target, float(np.min(cells.position + steps)))
    if target < cells.position[0] - SAME:
        raise PliantError(
            f"{written(at)} lies below the smallest scale that groups have in common ({flops(cells.position[0])}); ask at or above it"
        )
    return target


def flops(position: float) -> str:
    """A log compute in words."""
    return f"{np.exp(position):.3g} FLOPs"


def written(at: Mapping[str, float]) -> str:
    """The scale in words."""
    return ", ".join(f"{name} {value:.4g}" if name == "compute" else f"{name} {format_count(value)}" for name, value in at.items())
