"""How groups move against each other as scale grows: what their gaps so far say about a gap that nobody has measured.

Idea: log loss of a group at log compute c is what all groups share, plus its own deviation h(c). A deviation is a level with a slope
that wanders and dies out (an integrated Ornstein-Uhlenbeck process),
and every measured run has an error of its own. How large errors and slopes are, this table says itself: both are integrated over a
grid, weighted by how well they explain the deviations and by a prior learned from other tables, which makes tails heavy where a table
is short. Given both, groups are independent, and what follows is Gaussian: the deviation of each group at the scale asked for.
When to use it: two groups or more at two common scales or more; with one scale the prior alone speaks, and says little.
Cost: milliseconds for ten groups.
What goes wrong: a change of regime (a learning rate that breaks at scale, a corpus that runs out) is in no gap measured before it.
Source: pliant's own; constants learned by rolling origins over published tables, see docs/decide-between.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pliant.decide.groups.cells import SAME
from pliant.statistics import Array

POINTS = 96
"""Of the grid on which slopes are integrated."""


@dataclass(frozen=True)
class Constants:
    """What was learned from other tables; log losses against log compute (natural logarithms)."""

    noise: float = 0.0041
    """Middle and (log) standard deviation of a run's error."""
    noise_sd: float = 0.86
    slope: float = 0.0036
    """Likewise of the slope between a group and the rest."""
    slope_sd: float = 1.87
    share: float = 0.037
    """What adds to the middle of the slopes: so much of the spread between the groups, for large gaps move faster."""
    memories: tuple[float, ...] = (0.45, 1.8)
    """How fast a slope forgets itself, one over the memory in log compute; the table says which."""


LEARNED = Constants()


@dataclass(frozen=True)
class Outlook:
    """What may be at the scales asked for, for each setting of errors and slopes, whose `weight` (settings,) sums to one.

    `mean` (settings, groups, targets) of each group's deviation in log loss, `covariance` (settings, groups, targets, targets) of it,
    `noise` (settings,) the error of one more run, which is in neither.
    """

    mean: Array
    covariance: Array
    weight: Array
    noise: Array

    def spread(self, target: int = 0) -> Array:
        """Standard deviation of what a run there would show, (settings, groups)."""
        return np.sqrt(self.covariance[:, :, target, target] + self.noise[:, None] ** 2)


def deviations(values: Array) -> Array:
    """What is each group's own of `values` (groups, cells): what the groups share is carried from cell to cell by those in both."""
    shared = np.zeros(values.shape[1])
    for cell in range(1, values.shape[1]):
        step = values[:, cell] - values[:, cell - 1]
        if np.isfinite(step).any():
            shared[cell] = shared[cell - 1] + np.nanmean(step)
        else:  # nobody in both: as the groups that are here were when last seen
            last = [np.flatnonzero(np.isfinite(row[:cell]))[-1:] for row in values]
            seen = [row[cell] - row[back[0]] + shared[back[0]] for row, back in zip(values, last, strict=True) if len(back)]
            seen = [value for value in seen if np.isfinite(value)]
            shared[cell] = np.mean(seen) if seen else shared[cell - 1]
    own = values - shared
    return own - np.nanmean(own, axis=0, keepdims=True)[:, -1:]


def last_seen(values: Array, position: Array) -> Array:
    """Of each group the value at its last position, (groups,): the mean of those at (nearly) the same one, NaN for none."""
    found = np.full(len(values), np.nan)
    for group, row in enumerate(values):
        there = np.flatnonzero(np.isfinite(row))
        if len(there):
            found[group] = row[there[position[there] >= position[there[-1]] - SAME]].mean()
    return found


def covariances(position: Array, targets: Array, constants: Constants) -> Array:
    """Of the integrated slope at `position` and then `targets`, counted from the last cell, for slope 1: one matrix for each memory,
    (memories, cells + targets, cells + targets).
    """
    places = np.concatenate([position, targets]) - position[-1]
    grid = np.linspace(min(places.min(), -1e-6), max(places.max(), 1e-6), POINTS + 1)
    middle, low, high = (grid[:-1] + grid[1:]) / 2, grid[:-1], grid[1:]
    reach = places[:, None]
    forward = np.clip(np.minimum(high, reach) - np.maximum(low, 0.0), 0.0, None)
    backward = np.clip(np.minimum(high, 0.0) - np.maximum(low, reach), 0.0, None)
    apart = np.abs(middle[:, None] - middle)
    path = forward - backward
    return np.stack([path @ np.exp(-memory * apart) @ path.T for memory in constants.memories])


def outlook(values: Array, position: Array, targets: Array, variance: Array | float = 0.0, constants: Constants = LEARNED) -> Outlook:
    """Each group's deviation at the log compute of each of `targets` (targets,).

    Args:
        values: (groups, cells) log losses, NaN where a group was not measured.
        position: (cells,) log compute, rising.
        targets: Log compute asked for.
        variance: (groups, cells) error variance known from repeated runs, beside what the table shows.
        constants: What other tables taught.
    """
    own, (groups, cells) = deviations(values), values.shape
    noises, slopes, memories, prior = _settings(last_seen(own, position), constants)
    moved = covariances(position, targets, constants)
    count, asked = len(noises), len(targets)
    mean, covariance = np.zeros((count, groups, asked)), np.zeros((count, groups, asked, asked))
    likelihood, share = np.zeros(count), 1 - 1 / groups  # what is shared was taken out of the deviations
    known = np.broadcast_to(np.asarray(variance, float), values.shape)
    patterns, which = np.unique(np.concatenate([np.isfinite(values), known], axis=1), axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        rows, there = np.flatnonzero(np.ravel(which) == number), np.flatnonzero(pattern[:cells])
        took = np.append(there, np.arange(cells, cells + asked))
        prior_covariance = moved[memories][:, took[:, None], took] * slopes[:, None, None] ** 2 + WIDE**2
        seen = len(there)
        observed = prior_covariance[:, :seen, :seen] + np.eye(seen) * (noises[:, None, None] ** 2 + pattern[cells:][there])
        data = np.broadcast_to(own[np.ix_(rows, there)].T, (count, seen, len(rows)))
        across = prior_covariance[:, :seen, seen:]
        solved = np.linalg.solve(observed, np.concatenate([data, across], axis=2))
        explained, gain = solved[:, :, : len(rows)], solved[:, :, len(rows) :]
        mean[:, rows] = np.einsum("skt,skr->srt", gain, data)
        covariance[:, rows] = (prior_covariance[:, seen:, seen:] - np.einsum("skt,sku->stu", gain, across))[:, None]
        misfit = np.einsum("skr,skr->s", data, explained) / share
        likelihood -= 0.5 * share * (misfit + len(rows) * np.linalg.slogdet(observed)[1])
    weight = np.exp(likelihood + prior - (likelihood + prior).max())
    diagonal = np.arange(asked)
    covariance[:, :, diagonal, diagonal] = np.maximum(covariance[:, :, diagonal, diagonal], 0)
    return Outlook(mean, covariance, weight / weight.sum(), noises)


def _settings(last: Array, constants: Constants) -> tuple[Array, Array, NDArray[np.intp], Array]:
    """Errors, slopes, which memory, and the log of their prior, (settings,) each."""
    spread = float(np.sqrt(np.nanmean(last**2) * len(last) / (len(last) - 1)))
    noise = constants.noise * np.exp(constants.noise_sd * GRID)
    slope = np.hypot(constants.slope, constants.share * spread) * np.exp(constants.slope_sd * GRID)
    which = np.arange(len(constants.memories))
    noises, slopes, memories = np.meshgrid(noise, slope, which, indexing="ij")
    prior = -np.add.outer(GRID**2, GRID**2)[:, :, None] / 2 + np.zeros(len(which))
    return noises.ravel(), slopes.ravel(), memories.ravel(), prior.ravel()


GRID = np.linspace(-2.5, 2.5, 7)
"""Settings of errors and of slopes, in standard deviations of the prior."""
WIDE = 1.0
"""Standard deviation of a level: nothing is known of it before."""
