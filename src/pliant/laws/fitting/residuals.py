"""What residuals show of the errors behind them: shared by runs of one size, larger in small runs, a run gone wrong, a trend.

Bootstrap samples must be drawn as errors occur. Runs of one model size (or of a named cluster) often share an error that no
law of N and D knows: shape, seed, data order. Drawn run by run they make intervals of exponents far too narrow.
Tests are at 1%, on residuals clipped at five times their noise, so that a table of independent errors keeps the plain kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pliant.laws.law import Array, Law

SURE = 0.01
CLIPPED, OUTLYING, NAMED = 5.0, 8.0, 3
FEWEST_CLUSTERS = 5


@dataclass(frozen=True)
class ErrorStructure:
    """How errors seem to occur."""

    clusters: NDArray[np.int64] | None
    """The cluster of each row, where runs of one size share an error."""
    wild: bool
    """Whether each run's own size of error must be kept."""
    remarks: tuple[str, ...]


def error_structure(law: Law, columns: dict[str, Array], residuals: Array, noise: float, scale: Array) -> ErrorStructure:
    """From the residuals of a fit; clusters are runs with equal values of the law's first scale column."""
    clipped = np.clip(residuals, -CLIPPED * noise, CLIPPED * noise)
    remarks = _outliers(residuals, noise)
    name = law.scale[0] if len(law.scale) > 1 else None
    clusters = np.unique(np.round(np.log(columns[name]), 6), return_inverse=True)[1] if name else None
    if clusters is not None and _shared(clipped, clusters):
        remarks.append(
            f"runs of equal {name} share errors ({clusters.max() + 1} sizes): intervals are by a wild bootstrap of these clusters; "
            "name others with clusters"
        )
        return ErrorStructure(clusters, True, tuple(remarks))
    wild = _uneven(clipped, scale)
    if wild:
        remarks.append("errors depend on the size of runs: intervals are by a wild bootstrap, which keeps each run's own")
    return ErrorStructure(None, wild, tuple(remarks))


def trend(residuals: Array, scale: Array) -> str | None:
    """A sentence where residuals of the larger half rise or fall along the scale: the form bends otherwise."""
    from scipy import stats

    upper = scale >= np.median(scale)
    if upper.sum() < 10 or np.ptp(scale[upper]) == 0 or np.ptp(residuals[upper]) == 0:
        return None
    told: Any = stats.spearmanr(scale[upper], residuals[upper])
    if not told.pvalue < SURE:
        return None
    way = "higher" if told.statistic > 0 else "lower"
    return f"residuals have a trend: the larger a run, the {way} it lies against the law; beyond the data the form will be off"


def _shared(residuals: Array, clusters: NDArray[np.int64]) -> bool:
    """One-way analysis of variance: do means of clusters differ by more than chance?"""
    from scipy import stats

    counts = np.bincount(clusters)
    groups, rows = len(counts), len(residuals)
    if groups < FEWEST_CLUSTERS or rows < 2 * groups:
        return False
    means = np.bincount(clusters, residuals) / counts
    among = counts @ (means - residuals.mean()) ** 2 / (groups - 1)
    within = float(((residuals - means[clusters]) ** 2).sum()) / (rows - groups)
    return bool(within > 0 and stats.f.sf(among / within, groups - 1, rows - groups) < SURE)


def _uneven(residuals: Array, scale: Array) -> bool:
    from scipy import stats

    size = np.abs(residuals)
    if len(size) < 15 or np.ptp(size) == 0 or np.ptp(scale) == 0:
        return False
    told: Any = stats.spearmanr(size, scale)
    return bool(told.pvalue < SURE)


def _outliers(residuals: Array, noise: float) -> list[str]:
    """The rows that lie so far off that no noise explains them, if they are few."""
    far = np.flatnonzero(np.abs(residuals) > OUTLYING * noise)
    if not 0 < len(far) <= max(1, len(residuals) // 20):
        return []
    worst = far[np.argsort(-np.abs(residuals[far]))]
    named = ", ".join(str(row + 1) for row in worst[:NAMED].tolist()) + (" ..." if len(far) > NAMED else "")
    times = float(np.abs(residuals[worst[0]])) / noise
    return [f"{len(far)} runs lie far off the law (row {named}; up to {times:.0f} times the noise): look whether they went wrong"]
