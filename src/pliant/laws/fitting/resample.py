"""Bootstrap samples of a table: what else could have been measured.

`residual` (default): every run keeps its place and gets the error of another run, with a random sign. The design stays as
it was measured, which matters with few runs: a table that by chance has no large model left says nothing.
`wild` (default with clusters): every run keeps the size of its own error, so small models may be noisier than large ones;
with clusters, a cluster's errors change sign together. `run` draws runs with replacement, `cluster` draws whole families.

Errors at a fit look smaller than they were. A robust fit passes exactly through some runs, one a parameter: they are left
out of what is drawn, which makes up for the fitted parameters. Least squares pins none, so its errors are widened instead.
How far a robust fit varies hangs on how many errors lie close to zero, which a few dozen residuals tell badly: so drawn
errors are smoothed. With that, percentiles of the samples cover what they say: docs/laws-coverage.md, for every law.
Source: Efron 1979; Wu 1986; for median regression Feng, He and Hu 2011; clusters as in Cameron, Gelbach and Miller 2008.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pliant.errors import PliantError
from pliant.laws.law import Array
from pliant.statistics import resample_counts

Kind = Literal["residual", "wild", "run", "cluster"]
KINDS: tuple[Kind, ...] = ("residual", "wild", "run", "cluster")
SMOOTHING, WILD_SMOOTHING = 1.0, 0.6
"""Width of the smoothing of errors, in standard deviations times rows^-1/5, the usual rate for densities."""
SAMPLES = 400
LEAST_LEFT = 0.1
"""Of a direction of a cluster's errors so much at least is taken to be left in the residuals."""


@dataclass(frozen=True)
class Bootstrap:
    """How to resample, and how often; no samples means no intervals."""

    kind: Kind
    samples: int

    @classmethod
    def parse(cls, asked: str | int | None, clustered: bool) -> Bootstrap:
        """From 400, "wild", "run:1000", "cluster", 0 or None (the default kind). Raises PliantError for anything else."""
        kind, _, number = (str(SAMPLES) if asked is None else str(asked)).partition(":")
        if not number and kind.isdecimal():
            kind, number = ("wild" if clustered else "residual"), kind
        samples = int(number or SAMPLES) if (number or "0").isdecimal() and len(number) < 10 else -1
        if kind not in KINDS or samples < 0:
            raise PliantError(f"bootstrap {asked!r}: write how many samples, or KIND:SAMPLES with KIND one of {', '.join(KINDS)}")
        if kind == "cluster" and not clustered:
            raise PliantError("bootstrap cluster: say which column names the clusters (clusters=...)")
        if kind == "residual" and clustered:
            raise PliantError("bootstrap residual knows no clusters; choose wild or cluster, or name no clusters")
        return cls(kind, samples)


def leverage(jacobian: Array) -> Array:
    """Each row's hat value, between 0 and 1: how far the fit bends towards that row alone. `jacobian` is (rows, k)."""
    scale = np.linalg.norm(jacobian, axis=0)
    left, singular, _ = np.linalg.svd(jacobian / np.where(scale > 0, scale, 1.0), full_matrices=False)
    return np.clip((left[:, singular > 1e-9 * singular[0]] ** 2).sum(axis=1), 0.0, 0.99)


def cluster_adjusted(residuals: Array, jacobian: Array, clusters: NDArray[np.int64]) -> tuple[Array, float]:
    """Residuals (rows,) as large as errors are, cluster by cluster, and the degrees of freedom that clusters leave.

    A fit bends towards a whole cluster: its residuals are multiplied by (I - H_gg)^(-1/2) (the correction CR2). Few clusters
    carry a parameter (the smallest and largest sizes an exponent): Satterthwaite's degrees of freedom, of the parameter
    that has the fewest, from what each cluster's common error moves it by.
    Source: Bell and McCaffrey 2002; Imbens and Kolesar 2016.
    """
    scale = np.linalg.norm(jacobian, axis=0)
    left, singular, right = np.linalg.svd(jacobian / np.where(scale > 0, scale, 1.0), full_matrices=False)
    kept = singular > 1e-9 * singular[0]
    left, moves = left[:, kept], (right[kept].T / singular[kept]) @ left[:, kept].T
    adjusted = residuals.copy()
    for cluster in range(int(clusters.max()) + 1):
        rows = clusters == cluster
        hat = left[rows] @ left[rows].T
        values, vectors = np.linalg.eigh(np.eye(len(hat)) - hat)
        adjusted[rows] = vectors @ ((vectors.T @ residuals[rows]) / np.sqrt(np.maximum(values, LEAST_LEFT)))
    shares = np.stack([np.bincount(clusters, move) ** 2 for move in moves])
    shares = shares[shares.sum(axis=1) > 0]
    freedom = shares.sum(axis=1) ** 2 / (shares**2).sum(axis=1)
    return adjusted, max(float(freedom.min(initial=float(len(shares[0])))) if len(shares) else 1.0, 2.0)


def pinned(residuals: Array, parameters: int, corner: float) -> int:
    """How many runs a robust fit passes through just because it can: at most one a parameter."""
    return min(parameters, int((np.abs(residuals) < corner).sum()), len(residuals) - 1) if np.isfinite(corner) else 0


def error_sizes(residuals: Array, parameters: int, corner: float) -> Array:
    """What runs err by: the sizes of residuals that are not pinned; for least squares all, widened for the fitted parameters."""
    rows = len(residuals)
    if np.isinf(corner):
        return np.abs(residuals) * np.sqrt(rows / max(rows - parameters, 1))
    return np.sort(np.abs(residuals))[pinned(residuals, parameters, corner) :]


def noise_level(residuals: Array, parameters: int, corner: float) -> float:
    """Standard deviation of errors on the residual's scale, never quite zero: for a robust loss from their median size."""
    sizes = error_sizes(residuals, parameters, corner)
    level = np.sqrt(np.mean(sizes**2)) if np.isinf(corner) else 1.4826 * np.median(sizes)
    return max(float(level), 1e-12)


def residual_errors(residuals: Array, parameters: int, corner: float, samples: int, generator: np.random.Generator) -> Array:
    """Errors (samples, rows) to add to the fit: another run's, with a random sign, smoothed where the loss is robust."""
    shape = (samples, len(residuals))
    drawn = generator.choice(error_sizes(residuals, parameters, corner), shape) * _signs(generator, shape)
    if np.isinf(corner):
        return drawn
    return drawn + SMOOTHING * len(residuals) ** -0.2 * noise_level(residuals, parameters, corner) * generator.standard_normal(shape)


def wild_errors(
    residuals: Array,
    jacobian: Array,
    corner: float,
    clusters: NDArray[np.int64] | None,
    samples: int,
    generator: np.random.Generator,
) -> Array:
    """Errors (samples, rows) to add to the fit: each run's own, widened by its leverage (its cluster's), with its cluster's random sign.

    Pinned runs borrow another's; all are smoothed a little, since two values per run are a poor distribution, and
    widened from the normal's tail to Student's.
    """
    from scipy import stats

    rows, parameters = jacobian.shape
    groups = rows if clusters is None else len(np.unique(clusters))
    if clusters is None:
        adjusted, degrees_of_freedom = residuals / np.sqrt(1 - leverage(jacobian)), max(rows - parameters, 1.0)
    else:
        adjusted, degrees_of_freedom = cluster_adjusted(residuals, jacobian, clusters)
    tail = float(stats.t.ppf(0.95, degrees_of_freedom) / stats.norm.ppf(0.95))
    own = np.broadcast_to(adjusted, (samples, rows)).copy()
    lowest = np.argsort(np.abs(residuals))[: pinned(residuals, parameters, corner)]
    borrowed = generator.choice(error_sizes(residuals, parameters, corner), (samples, len(lowest)))
    own[:, lowest] = borrowed * _signs(generator, borrowed.shape)
    signs = _signs(generator, (samples, groups))
    width = WILD_SMOOTHING * rows**-0.2 * noise_level(residuals, parameters, corner)
    return tail * (own * (signs if clusters is None else signs[:, clusters]) + width * generator.standard_normal((samples, rows)))


def drawn_weights(rows: int, clusters: NDArray[np.int64] | None, samples: int, seed: int) -> Array:
    """How often each row occurs in each bootstrap sample, (samples, rows): rows drawn alone, or with their whole cluster."""
    if clusters is None:
        return resample_counts(rows, samples, seed).astype(np.float64)
    return resample_counts(len(np.unique(clusters)), samples, seed)[:, clusters].astype(np.float64)


def _signs(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return generator.choice([-1.0, 1.0], shape)
