"""A metric along a ladder, with everything known about its errors.

Idea: a curve's errors are a sum of independent sources, each a covariance between checkpoints and a number of degrees of
freedom. Samples are shared by all checkpoints, so their errors cancel from differences; runs are not.
When to use it: `Curve.from_samples` for measurements of one's own, `Curve.from_table` for published tables.
Cost: one pass over the samples.
What goes wrong: a table without an honest standard error; one run per checkpoint, see `pliant.decide.curves.inflection`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pliant.decide.curves.shared import share_matrix
from pliant.errors import PliantError
from pliant.statistics import Array, Clusters, cluster_numbers, weighted_mean


@dataclass(frozen=True)
class Noise:
    """One independent source of error: covariance (checkpoints, checkpoints) of a curve's values, and its degrees of freedom."""

    source: str
    covariance: Array = field(repr=False)
    freedom: float


@dataclass(frozen=True)
class Curve:
    """One metric at checkpoints along `positions` (tokens, steps, a size ...), in the order of the ladder.

    `rising` says that positions grow along it; otherwise, as densities do, they fall. `beginning` is where every run begins.
    `values` (checkpoints,) are in the metric's own unit. `runs` is the smallest number of independent pretraining runs behind
    a point: with one, the spread between runs is not in `noise`.
    """

    positions: Array
    values: Array
    noise: tuple[Noise, ...] = field(repr=False)
    runs: int = 1
    higher_is_better: bool = False
    rising: bool = True
    beginning: float = 0.0

    @classmethod
    def from_table(
        cls,
        positions: ArrayLike,
        values: ArrayLike,
        stderr: ArrayLike,
        runs: ArrayLike = 1,
        *,
        shared: ArrayLike = 0.0,
        higher_is_better: bool = False,
        rising: bool = True,
        beginning: float = 0.0,
    ) -> Curve:
        """From one value per checkpoint.

        `stderr` is the standard error of each value. With `runs` of two or more (a number, or one per checkpoint) it is the
        standard deviation between runs over sqrt(runs); with one it is the evaluation's sampling error (for an accuracy p on n
        questions sqrt(p (1 - p) / n)). Zero means known exactly.

        Points measured on the same questions err together, which cancels from differences along the curve: `shared` is the part of the
        sampling errors' variance that they have in common (0 to 1; `shared_error` estimates it from a few checkpoints), or the results
        by question, (checkpoints, questions) in the order of `positions`, from which each pair's is taken.

        Raises PliantError for fewer than two checkpoints, repeated positions, numbers that are not finite, and for `shared` beside
        several runs, whose spread has no part in the questions' errors.
        """
        counts, points, order = _checked(positions, values, rising)
        errors = np.broadcast_to(np.asarray(stderr, float), points.shape)[order]
        if not np.isfinite(errors).all() or (errors < 0).any():
            raise PliantError("standard errors must be finite and not negative")
        repeats = np.broadcast_to(np.asarray(runs), points.shape)[order]
        alike = share_matrix(shared, len(points))
        if (alike == np.eye(len(points))).all():
            noise = _pointwise("runs" if repeats.min() > 1 else "samples", errors, np.where(repeats > 1, repeats - 1, np.inf))
        elif repeats.max() > 1:
            raise PliantError("shared is about sampling errors: the spread between runs, which stderr is with several, shares nothing")
        else:
            noise = (Noise("samples", alike[np.ix_(order, order)] * np.outer(errors, errors), np.inf),)
        return cls(counts, points, noise, int(repeats.min()), higher_is_better, rising, beginning)

    @classmethod
    def from_samples(
        cls,
        positions: ArrayLike,
        values: Sequence[Array],
        weights: Array,
        clusters: Clusters | None = None,
        runs: int | None = None,
        *,
        higher_is_better: bool = False,
        rising: bool = True,
        beginning: float = 0.0,
    ) -> Curve:
        """From values per sample; `values[j]` is (seeds, draws, samples) for checkpoint j, over the same samples everywhere.

        Samples are paired across checkpoints and count by cluster (document). Seeds are independent repeats; `runs` says how
        many of them are training runs of their own, all by default; a single one at the beginning is common to all runs. Draws are
        common to all checkpoints and count only where there is a single seed. Seeds and draws may differ in number between
        checkpoints, as after a failed cell.

        Raises PliantError as `from_table` does, and for a single document.
        """
        means = [np.asarray(point, float).mean(axis=(0, 1)) for point in values]
        counts, curve, order = _checked(positions, [weighted_mean(mean, weights) for mean in means], rising)
        share = weights / weights.sum()
        points = [np.asarray(values[j], float) @ share for j in order]
        noise = [_sample_noise(np.stack([means[j] for j in order]), share, clusters)]
        seeds = [len(point) for point in points]
        if max(seeds) > 1:
            noise += _seed_noise(points, counts == beginning)
        elif min(point.shape[1] for point in points) >= 4:
            noise.append(_draw_noise(points))
        return cls(counts, curve, tuple(noise), min(seeds) if runs is None else runs, higher_is_better, rising, beginning)

    def far(self, index: int) -> NDArray[np.bool_]:
        """(checkpoints,) which of them lie at least a doubling before that checkpoint (where positions fall, a halving)."""
        positions = self.positions if self.rising else 1 / np.maximum(self.positions, np.finfo(float).tiny)
        return positions <= positions[index] / 2

    def stderr(self) -> Array:
        """Standard error of each value, (checkpoints,), without what only the roughness of the curve shows."""
        return np.sqrt(np.diagonal(self.covariance()))

    def paired_stderr(self) -> Array:
        """Standard error with what all points share taken out, (checkpoints,): the one to compare points of the curve by.

        For equal, independent errors it is `stderr()`. Source: within-subject intervals of Cousineau (2005) and Morey (2008).
        """
        count = len(self.values)
        centre = np.eye(count) - 1 / count
        return np.sqrt(np.maximum(np.diagonal(centre @ self.covariance() @ centre), 0) * count / (count - 1))

    def covariance(self) -> Array:
        """Of all sources together, (checkpoints, checkpoints)."""
        return np.sum([source.covariance for source in self.noise], axis=0)


def _sample_noise(means: Array, share: Array, clusters: Clusters | None) -> Noise:
    """Covariance of the weighted means of `means` (checkpoints, samples): linearised, by cluster, with the G/(G-1) correction."""
    influence = share * (means - (means @ share)[:, None])
    if clusters is not None:
        numbers = cluster_numbers(clusters)
        influence = np.stack([np.bincount(numbers, weights=row) for row in influence])
    groups = influence.shape[1]
    if groups < 2:
        raise PliantError("one document says nothing about the spread between documents; measure on at least two")
    return Noise("samples", influence @ influence.T * groups / (groups - 1), groups - 1)


def _seed_noise(points: Sequence[Array], common: NDArray[np.bool_]) -> tuple[Noise, ...]:
    """Spread between seeds, checkpoint by checkpoint; a checkpoint with one seed is given the largest spread seen, but for the
    common beginning of all runs, which has none.

    Correlation between checkpoints is left out: it cannot be learned from a few seeds, and where it is positive this is
    on the wide side.
    """
    counts = np.asarray([len(point) for point in points])
    spread = np.asarray([np.var(point.mean(axis=1), ddof=1) if len(point) > 1 else np.nan for point in points])
    variance = np.where(counts > 1, spread, np.where(common, 0.0, np.nanmax(spread)))
    return _pointwise("seeds", np.sqrt(variance / counts), np.where(counts > 1, counts - 1, 1))


def _draw_noise(points: Sequence[Array]) -> Noise:
    """Covariance over the random draws of a single seed, the same draws at every checkpoint.

    Draws 2k and 2k + 1 may be mirror images (antithetic pairs), so a pair counts as one.
    """
    pairs = min(point.shape[1] for point in points) // 2
    table = np.stack([point[0, : 2 * pairs].reshape(pairs, 2).mean(axis=1) for point in points])
    return Noise("draws", np.cov(table) / pairs, pairs - 1)


def _pointwise(source: str, errors: Array, freedom: Array) -> tuple[Noise, ...]:
    """Independent errors of single points, each with its own degrees of freedom."""
    places = np.eye(len(errors))
    return tuple(Noise(source, np.diag(places[j] * error**2), float(freedom[j])) for j, error in enumerate(errors))


def _checked(positions: ArrayLike, values: ArrayLike, rising: bool) -> tuple[Array, Array, NDArray[np.intp]]:
    """Positions and values in the order of the ladder, and that order."""
    counts, numbers = np.asarray(positions, float), np.asarray(values, float)
    if counts.shape != numbers.shape or counts.ndim != 1 or len(counts) < 2:
        raise PliantError(f"a curve needs at least two checkpoints, got {counts.size}")
    if not (np.isfinite(counts).all() and np.isfinite(numbers).all()):
        raise PliantError("a curve holds values that are not finite numbers")
    order = np.argsort(counts if rising else -counts, kind="stable")
    if (np.diff(counts[order]) == 0).any():
        raise PliantError("two values share one position; average them, or tell them apart (shots, format, learning rate) first")
    return counts[order], numbers[order], order
