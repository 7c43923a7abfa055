"""Means, paired differences and intervals: the one place where pliant turns samples into claims.

All of it is plain numpy; a value is in its measure's own unit (nats/token for losses).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Clusters = Sequence[object] | NDArray[np.int64]
"""The cluster each sample belongs to, by name or as a whole number: what has the same one hangs together."""


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error and a two-sided interval at `confidence`."""

    value: float
    stderr: float
    low: float
    high: float
    n: int
    confidence: float = 0.9

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"


def weighted_mean(values: Array, weights: Array) -> float:
    """sum(w v) / sum(w): with token counts as weights this is nats per token over the whole text."""
    return float(np.dot(values, weights) / weights.sum())


def clustered_error(values: Array, weights: Array, clusters: Clusters | None = None) -> float:
    """Standard error of the weighted mean when samples of one cluster (windows of one document) hang together.

    Linearised ratio estimator with the G/(G-1) correction; without clusters every sample is its own. NaN for fewer
    than two clusters, since one cluster says nothing about its spread.
    """
    residual = weights * (values - weighted_mean(values, weights))
    if clusters is not None:
        residual = np.bincount(cluster_numbers(clusters), weights=residual)
    groups = len(residual)
    if groups < 2:
        return float("nan")
    return float(np.sqrt(groups / (groups - 1) * np.sum(residual**2)) / weights.sum())


def cluster_numbers(clusters: Clusters) -> NDArray[np.int64]:
    """Clusters as whole numbers from 0, each used. An array of such numbers stays as it is."""
    if not (isinstance(clusters, np.ndarray) and np.issubdtype(clusters.dtype, np.integer)):
        return np.unique(np.asarray([str(cluster) for cluster in clusters]), return_inverse=True)[1]
    if len(clusters) and clusters.min() >= 0 and clusters.max() < len(clusters) and np.bincount(clusters).all():
        return clusters
    return np.unique(clusters, return_inverse=True)[1]


def joint_clusters(first: Clusters, second: Clusters) -> NDArray[np.int64]:
    """The clusters of samples that hang together in either way, directly or through others: the finest that share nothing.

    Numbered in the order in which the samples meet them; where the two are the same, as `cluster_numbers` has them.
    """
    one, other = cluster_numbers(first), cluster_numbers(second)
    if np.array_equal(one, other) or not len(one):
        return one
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    nodes = int(one.max()) + int(other.max()) + 2
    edges = coo_array((np.ones(len(one), np.int8), (one, int(one.max()) + 1 + other)), shape=(nodes, nodes))
    _, component = connected_components(edges, directed=False)
    _, firsts, found = np.unique(component[one], return_index=True, return_inverse=True)
    return np.argsort(np.argsort(firsts))[found]


def crossed_error(values: Array, weights: Array, clusters: Clusters | None = None) -> float:
    """Standard error of the mean over random draws (rows) and clustered samples (columns) that are crossed.

    Every draw reads the same samples, so the two spreads add: the clustered error of the draws' average, and the spread
    of the draws' means. What the two share is counted twice, which errs on the wide side (Owen 2007, the pigeonhole
    bootstrap, gives the same bound). One draw says nothing about its spread: then only the samples count.
    """
    variance = clustered_error(values.mean(axis=0), weights, clusters) ** 2
    if len(values) > 1:
        variance += float(np.var(values @ weights / weights.sum(), ddof=1)) / len(values)
    return float(np.sqrt(variance))


def paired_difference(
    after: Array, before: Array, weights: Array, clusters: Clusters | None = None, *, mirrored: bool = False, confidence: float = 0.9
) -> Estimate:
    """What a change did, on average over samples, draws and seeds: the one paired difference of pliant.

    Args:
        after: (seeds, draws, samples), under the change.
        before: (seeds, samples), without it; the same samples.
        weights: (samples,) what each sample counts.
        clusters: Of the samples.
        mirrored: Draws 2k and 2k + 1 mirror each other, so a pair counts as one (where their number is even).
        confidence: Of the interval.

    Several seeds are the repeats that count, each with the mean of its draws; of a single seed, its draws are. The samples' error
    and the repeats' add, see `crossed_error`; the interval is Student's t with Satterthwaite's degrees of freedom for the two.
    """
    rises = after - before[:, None, :]
    if mirrored and rises.shape[1] % 2 == 0:
        rises = rises.reshape(len(rises), -1, 2, rises.shape[2]).mean(axis=2)
    repeats = rises.mean(axis=1) if len(rises) > 1 else rises[0]
    numbers = np.arange(len(weights)) if clusters is None else cluster_numbers(clusters)
    value, error = weighted_mean(repeats.mean(axis=0), weights), crossed_error(repeats, weights, numbers)
    of_samples = clustered_error(repeats.mean(axis=0), weights, numbers) ** 2
    groups = max(len(np.unique(numbers)) - 1, 1)
    freedom: float = groups
    if len(repeats) > 1 and error > 0:
        freedom = error**4 / (of_samples**2 / groups + (error**2 - of_samples) ** 2 / (len(repeats) - 1))
    reach = student(freedom, confidence) * error
    return Estimate(value, error, value - reach, value + reach, len(weights), confidence)


def estimate(values: Array, weights: Array, clusters: Clusters | None = None, confidence: float = 0.9) -> Estimate:
    """Weighted mean with its clustered standard error and Student-t interval."""
    value, error = weighted_mean(values, weights), clustered_error(values, weights, clusters)
    groups = len(values) if clusters is None else len({str(cluster) for cluster in clusters})
    reach = student(max(groups - 1, 1), confidence) * error
    return Estimate(value, error, value - reach, value + reach, len(values), confidence)


def student(freedom: float, confidence: float = 0.9) -> float:
    """Standard errors from the middle to either end of an interval, for an error estimated with so many degrees of freedom."""
    from scipy import special

    return float(special.stdtrit(freedom, 0.5 + confidence / 2))


def percentile_interval(resamples: Array, confidence: float = 0.9) -> tuple[float, float]:
    """The central `confidence` share of bootstrap resamples (any shape, flattened)."""
    low, high = np.quantile(resamples, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def resample_counts(groups: int, draws: int, seed: int) -> NDArray[np.int64]:
    """Bootstrap as multiplicities: row r says how often each of `groups` clusters occurs in resample r; rows sum to `groups`."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(groups, np.full(groups, 1 / groups), size=draws)


def bootstrap_means(values: Array, weights: Array, clusters: Clusters | None = None, *, resamples: int = 1000, seed: int = 0) -> Array:
    """Means under the hierarchical bootstrap: seeds, the draws of each seed, and documents are drawn again with replacement.

    `values` is (..., seeds, draws, samples) and the answer (resamples, ...). All leading entries (checkpoints, changes)
    share their resamples, so that differences between them stay paired. An axis of length 1 adds no spread.
    """
    *leading, seeds, draws, samples = values.shape
    numbers = np.arange(samples) if clusters is None else cluster_numbers(clusters)
    groups = int(numbers.max()) + 1
    membership = np.zeros((samples, groups))
    membership[np.arange(samples), numbers] = weights
    documents = resample_counts(groups, resamples, seed)
    means = (values @ membership) @ documents.T / (documents @ membership.sum(axis=0))  # (..., seeds, draws, resamples)
    of_seeds = resample_counts(seeds, resamples, seed + 1)
    of_draws = resample_counts(draws, resamples * seeds, seed + 2).reshape(resamples, seeds, draws)
    shares = of_seeds[:, :, None] * of_draws / (seeds * draws)
    return np.einsum("...sdr,rsd->r...", means.reshape(*leading, seeds, draws, resamples), shares)


def minimum_detectable_effect(stderr: float, confidence: float = 0.95, power: float = 0.8) -> float:
    """The smallest true difference that a two-sided test at `confidence` finds with probability `power`, given a standard error."""
    normal = NormalDist()
    return (normal.inv_cdf(0.5 + confidence / 2) + normal.inv_cdf(power)) * stderr


def spearman(first: ArrayLike, second: ArrayLike) -> float | None:
    """Rank correlation, ties sharing their mean rank; None where one of the two is constant."""
    ranks = [_ranks(np.asarray(values, float)) for values in (first, second)]
    if any(np.ptp(rank) == 0 for rank in ranks):
        return None
    return round(float(np.corrcoef(ranks[0], ranks[1])[0, 1]), 12)  # one is one


def _ranks(values: Array) -> Array:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]
