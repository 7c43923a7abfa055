"""What learning rates came before each row of a run: how much was trained, and what was annealed when.

Not a law: what the laws that read a schedule share. A table of theirs names the run, the step and the learning rate of every logged
loss; a row's past is the earlier rows of its run. Between two rows the rate is taken to change evenly, before the first to have
been constant after a linear warm-up.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from pliant.errors import PliantError
from pliant.laws.law import Array, Column

if TYPE_CHECKING:
    from torch import Tensor

COLUMNS = (
    Column("run", "name", "which run a row belongs to; its earlier rows are its schedule", default=1.0),
    Column("step", "steps", "optimiser steps until the loss was read"),
    Column("lr", "rate", "learning rate at that step", positive=False),
    Column("warmup", "steps", "steps of linear warm-up before the first row", positive=False, default=0.0),
)
GROWTH = 1.2
"""Changes of the rate long before a row are merged: each group, going back, holds so many times more of them."""
LEAST = 1e-3
"""Rates below this share of a run's highest count as it: a rate of zero has no negative power."""


@dataclass(frozen=True)
class Past:
    """Of every row the sum of rates, and of every (row, group of drops before it) what the laws need; a rise is a negative drop."""

    trained: Tensor
    """(rows,): the sum of learning rates over steps."""
    row: Tensor
    """(pairs,): whose past it is."""
    drop: Tensor
    """(pairs,): by how much the rate fell."""
    rate: Tensor
    """(pairs,): the rate it fell to."""
    since: Tensor
    """(pairs,): the sum of rates since."""
    age: Tensor
    """(pairs,): the steps since."""

    def of_rows(self, parameter: Tensor) -> Tensor:
        """A parameter of shape (..., rows), (..., 1) or () for every pair."""
        return parameter[..., self.row] if parameter.ndim and parameter.shape[-1] != 1 else parameter

    def summed(self, pairs: Tensor) -> Tensor:
        """Values (..., pairs) summed over each row's past: (..., rows)."""
        rows = pairs.new_zeros(*pairs.shape[:-1], len(self.trained))
        return rows.index_add(-1, self.row, pairs)


def past(run: Tensor, step: Tensor, lr: Tensor, warmup: Tensor) -> Past:
    """The past of every row. Raises PliantError for a run with the same step twice."""
    columns = np.broadcast_arrays(*(np.ravel(values.tolist()).astype(np.float64) for values in (run, step, lr, warmup)))
    return _past(*(column.tobytes() for column in columns))


@lru_cache(maxsize=16)
def _past(*columns: bytes) -> Past:
    import torch

    run, step, lr, warmup = (np.frombuffer(column) for column in columns)
    trained: Array = np.empty(len(run))
    pairs: list[tuple[Array, ...]] = [(np.empty(0),) * 5]
    for name in np.unique(run):
        rows = np.flatnonzero(run == name)
        rows = rows[np.argsort(step[rows], kind="stable")]
        if len(rows) > 1 and (np.diff(step[rows]) <= 0).any():
            twice = step[rows][1:][np.diff(step[rows]) <= 0][0]
            raise PliantError(f"two rows of one run have step {twice:g}: name the runs apart with columns run=..., or leave one row out")
        sums, found = _one_run(step[rows], lr[rows], float(warmup[rows[0]]))
        trained[rows] = sums
        pairs += [(np.full(len(part[0]), float(rows[index])), *part) for index, part in enumerate(found)]
    row, *rest = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    return Past(torch.tensor(trained), torch.tensor(row).long(), *(torch.tensor(part) for part in rest))


def _one_run(step: Array, lr: Array, warmup: float) -> tuple[Array, list[tuple[Array, ...]]]:
    """Sums of rates at each row, and each row's groups of drops as (drop, rate, since, age)."""
    gained = np.diff(step) * (lr[1:] + lr[:-1]) / 2
    sums = (step[0] - min(warmup, step[0]) / 2) * lr[0] + np.concatenate([[0.0], np.cumsum(gained)])
    drops = lr[:-1] - lr[1:]
    changed = np.flatnonzero(drops)
    drop, rate = drops[changed], np.maximum(lr[1:][changed], LEAST * lr.max())
    when, done = (step[changed] + step[changed + 1]) / 2, (sums[changed] + sums[changed + 1]) / 2
    before = np.searchsorted(changed, np.arange(len(step)))
    return sums, [
        _grouped(drop[:count], rate[:count], sums[index] - done[:count], step[index] - when[:count]) for index, count in enumerate(before)
    ]


def _grouped(drop: Array, rate: Array, since: Array, age: Array) -> tuple[Array, ...]:
    """Drops merged into groups, the latest alone, earlier ones with ever more of their neighbours; means weighted by size."""
    count = len(drop)
    if count == 0:
        return drop, rate, since, age
    sizes = np.ceil(GROWTH ** np.arange(1 + int(np.log1p(count) / np.log(GROWTH))))
    ends = count - np.concatenate([[0], np.cumsum(sizes)]).astype(int)
    starts = np.unique(np.maximum(ends[1:], 0))
    weight = np.abs(drop)
    total = np.add.reduceat(weight, starts)
    means = (np.add.reduceat(weight * values, starts) / total for values in (rate, since, age))
    return (np.add.reduceat(drop, starts), *means)
