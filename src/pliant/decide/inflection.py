"""Where does a curve over pretraining tokens turn, and does it really get worse after that?

Idea: the loss of a changed checkpoint falls with tokens, and may rise again (catastrophic overtraining). Fit the best
unimodal curve (down, then up) to it; its bottom is D*. Whether the rise after the bottom is real is a question about the
largest of many differences, "last checkpoint minus each earlier one", so the interval is simultaneous over all of them:
picking the lowest point afterwards is paid for, and a flat or falling curve is called degrading in at most 5% of cases.
When to use it: any ladder of two or more checkpoints, with samples paired across checkpoints, or a plain table of values
and standard errors. Losses and accuracies alike.
Cost: milliseconds; numpy only.
What goes wrong: with one run per checkpoint, nothing tells run-to-run spread apart from shape but the roughness of the
curve itself. Roughness is charged, yet a short ladder can look smooth by luck (with six points and a spread three times the
sampling error, 14% instead of 5% of flat curves are called degrading): believe one run less than three.
Source: the estimator of catastrophic overtraining (arXiv 2503.19206) as a unimodal fit; simultaneous bounds in the manner of
max-t tests, studentized by a parametric bootstrap; residual degrees of freedom of a monotone fit after Meyer
and Woodroofe (Annals of Statistics 2000), who count 1.5 for each level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pliant.errors import PliantError
from pliant.statistics import Array, weighted_mean

Verdict = Literal["degrades", "improves", "undetermined"]

_RESAMPLES = 4000
_CONFIDENCE = 0.95  # of each one-sided bound; 90% for an interval of two
_LEVEL_COST = 1.5  # degrees of freedom that one level of a monotone fit uses up


@dataclass(frozen=True)
class Noise:
    """One independent source of error of a curve: covariance (checkpoints, checkpoints) of its means, and degrees of freedom."""

    source: str
    covariance: Array = field(repr=False)
    freedom: float


@dataclass(frozen=True)
class Curve:
    """One metric at checkpoints of increasing `tokens`, with everything known about its errors.

    `values` (checkpoints,) are in the metric's own unit. `runs` is the smallest number of independent runs behind a
    point: with one, the spread between runs is not in `noise`.
    """

    tokens: NDArray[np.int64]
    values: Array
    noise: tuple[Noise, ...] = field(repr=False)
    runs: int = 1
    higher_is_better: bool = False

    @classmethod
    def from_table(
        cls,
        tokens: ArrayLike,
        values: ArrayLike,
        stderr: ArrayLike | None = None,
        runs: ArrayLike = 1,
        *,
        higher_is_better: bool = False,
    ) -> Curve:
        """From one value per checkpoint.

        `stderr` is the standard error of each value. With `runs` of two or more (a number, or one per checkpoint) it is the
        standard deviation between runs over sqrt(runs); with one it is the evaluation's sampling error, or unknown (None).
        Raises PliantError for fewer than two checkpoints, repeated token counts, and numbers that are not finite.
        """
        tokens, values, order = _checked(tokens, values)
        errors = np.zeros(len(values)) if stderr is None else np.broadcast_to(np.asarray(stderr, float), values.shape)[order]
        if not np.isfinite(errors).all() or (errors < 0).any():
            raise PliantError("standard errors must be finite and not negative")
        counts = np.broadcast_to(np.asarray(runs), values.shape)[order]
        noise = _pointwise("runs" if counts.min() > 1 else "samples", errors, np.where(counts > 1, counts - 1, np.inf))
        return cls(tokens, values, noise, int(counts.min()), higher_is_better)

    @classmethod
    def from_samples(
        cls,
        tokens: ArrayLike,
        values: Sequence[Array],
        weights: Array,
        clusters: Sequence[object] | None = None,
        *,
        higher_is_better: bool = False,
    ) -> Curve:
        """From values per sample; `values[j]` is (seeds, draws, samples) for checkpoint j, over the same samples everywhere.

        Samples are paired across checkpoints and resampled by cluster (document); seeds are independent runs; draws are
        common to all checkpoints and count on their own only where there is a single seed. Seeds and draws may differ in
        number between checkpoints, as after a failed cell. Raises PliantError as `from_table` does.
        """
        means = [np.asarray(point, float).mean(axis=(0, 1)) for point in values]
        tokens, curve, order = _checked(tokens, [weighted_mean(mean, weights) for mean in means])
        points = [np.asarray(values[j], float) for j in order]
        noise = [_sample_noise(np.stack([means[j] for j in order]), weights, clusters)]
        runs = min(len(point) for point in points)
        if max(len(point) for point in points) > 1:
            noise += _seed_noise(points, weights)
        elif min(point.shape[1] for point in points) > 1:
            noise.append(_draw_noise(points, weights))
        return cls(tokens, curve, tuple(noise), runs, higher_is_better)

    def stderr(self) -> Array:
        """Standard error of each value, (checkpoints,), without what only the roughness of the curve shows."""
        return np.sqrt(sum((np.diagonal(noise.covariance) for noise in self.noise), np.zeros(len(self.values))))


@dataclass(frozen=True)
class Inflection:
    """What a curve over tokens shows.

    `best` is D*, the bottom of the unimodal fit, `low` and `high` its 90% interval (all in tokens): the checkpoints that
    the data cannot rule out as the best. `rise` is how much worse the last checkpoint is than the best earlier one, in the
    metric's unit and positive when worse, also where higher values are better; `rise_low` and `rise_high` are one-sided 95%
    bounds. `fit` (checkpoints,) is the unimodal fit, `monotone_misfit` and `unimodal_misfit` root mean square residuals of the
    two fits, `roughness` the standard deviation between runs inferred from the curve's own scatter (0 where several runs
    show it directly), `turning` the vertex of a quadratic in log tokens where it is a minimum inside the ladder.
    """

    verdict: Verdict
    best: int
    low: int
    high: int
    rise: float
    rise_low: float
    rise_high: float
    fit: Array = field(repr=False)
    monotone_misfit: float
    unimodal_misfit: float
    roughness: float
    turning: float | None
    caveats: tuple[str, ...]


def inflection(curve: Curve, seed: int = 0) -> Inflection:
    """Judge a curve: `degrades`, `improves` or `undetermined`.

    `degrades`: the lower bound of the rise is above zero. `improves`: the lowest point is the last checkpoint, and it is
    better than every checkpoint of at most half its tokens, each at 95%. Half, so that the answer does not hang on how
    densely checkpoints were kept; on a ladder that doubles this is every earlier one. Never an inflection at the last point.
    """
    cost = -curve.values if curve.higher_is_better else curve.values
    fit, _ = unimodal(cost)
    noise, roughness = _with_roughness(curve, cost, fit)
    last = len(cost) - 1
    resamples = _Resamples.draw(noise, seed)
    bounds = [_bounds(cost, noise, j, resamples) for j in range(last + 1)]
    possible = [j for j, (lows, _) in enumerate(bounds) if lows.max() <= 0]
    low, high = bounds[last][0].max(), bounds[last][1]
    if high.max() < 0:
        possible = [last]
    best = min(possible, key=lambda j: (fit[j], cost[j]))
    far = curve.tokens[:last] <= curve.tokens[last] / 2
    still_gaining = best == last and high[far if far.any() else slice(None)].max() < 0
    return Inflection(
        verdict="degrades" if low > 0 else "improves" if still_gaining else "undetermined",
        best=int(curve.tokens[best]),
        low=int(curve.tokens[possible[0]]),
        high=int(curve.tokens[possible[-1]]),
        rise=float(cost[last] - cost[:last].min()),
        rise_low=float(low),
        rise_high=float(high.max()),
        fit=-fit if curve.higher_is_better else fit,
        monotone_misfit=_misfit(cost, monotone(cost)),
        unimodal_misfit=_misfit(cost, fit),
        roughness=roughness,
        turning=_turning_point(curve.tokens, cost),
        caveats=_caveats(curve, best),
    )


def monotone(values: Array) -> Array:
    """The non-increasing sequence nearest to `values` in least squares (pool adjacent violators)."""
    levels: list[float] = []
    sizes: list[int] = []
    for value in values:
        levels.append(float(value))
        sizes.append(1)
        while len(levels) > 1 and levels[-2] < levels[-1]:
            size = sizes[-2] + sizes[-1]
            levels[-2:] = [(levels[-2] * sizes[-2] + levels[-1] * sizes[-1]) / size]
            sizes[-2:] = [size]
    return np.repeat(levels, sizes)


def unimodal(values: Array) -> tuple[Array, int]:
    """The sequence that first does not rise and then does not fall, nearest to `values`; and the index of its lowest value.

    Tries every turning point. Among equal fits the one that falls longest is kept: no turn is claimed without need.
    """
    fits = [np.concatenate([monotone(values[:turn]), monotone(values[turn:][::-1])[::-1]]) for turn in range(1, len(values) + 1)]
    scale = max(float(np.abs(values - values.mean()).max()), 1e-300)
    misfits = [_misfit(values, fit) / scale for fit in fits]
    chosen = max(turn for turn, misfit in enumerate(misfits) if misfit <= min(misfits) + 1e-9)
    fit = fits[chosen]
    return fit, int(np.lexsort((values, fit))[0])


@dataclass(frozen=True)
class _Resamples:
    """What repeating the whole measurement would give: deviations of the means and, per source, of its variance estimate."""

    deviations: Array  # (resamples, checkpoints)
    scales: Array  # (resamples, sources): estimated over true variance

    @classmethod
    def draw(cls, noise: Sequence[Noise], seed: int) -> _Resamples:
        """A Gaussian-multiplier bootstrap: every seed, draw and document gets an independent normal weight.

        Sums of those have just the covariance of their source, so they are drawn from it. (An ordinary bootstrap of three
        seeds has ten outcomes.) Few degrees of freedom make the variance itself uncertain, hence `scales`.
        """
        generator = np.random.default_rng(seed)
        deviations, scales = np.zeros((_RESAMPLES, len(noise[0].covariance))), np.ones((_RESAMPLES, len(noise)))
        for number, source in enumerate(noise):
            values, vectors = np.linalg.eigh(source.covariance)
            normal = generator.standard_normal(deviations.shape)
            deviations += normal @ (vectors * np.sqrt(np.maximum(values, 0))).T
            if np.isfinite(source.freedom):
                scales[:, number] = generator.chisquare(source.freedom, _RESAMPLES) / source.freedom
        return cls(deviations, scales)


def _bounds(cost: Array, noise: Sequence[Noise], index: int, resamples: _Resamples) -> tuple[Array, Array]:
    """95% bounds of how much worse checkpoint `index` is than each other one: lower ones hold all at once, upper ones singly."""
    others = np.delete(np.arange(len(cost)), index)
    parts = np.stack([_contrast_variance(source.covariance, index, others) for source in noise])
    error = np.sqrt(parts.sum(axis=0))
    estimated = np.sqrt(resamples.scales @ parts)
    deviations = resamples.deviations[:, [index]] - resamples.deviations[:, others]
    studentized = np.divide(deviations, estimated, out=np.zeros_like(deviations), where=estimated > 0)
    difference = cost[index] - cost[others]
    joint = np.quantile(studentized.max(axis=1), _CONFIDENCE)
    single = np.quantile(studentized, _CONFIDENCE, axis=0)
    return difference - joint * error, difference + single * error


def _contrast_variance(covariance: Array, index: int, others: NDArray[np.intp]) -> Array:
    variance = np.diagonal(covariance)
    return np.maximum(variance[index] + variance[others] - 2 * covariance[index, others], 0)


def _with_roughness(curve: Curve, cost: Array, fit: Array) -> tuple[tuple[Noise, ...], float]:
    """The curve's noise, and for single runs the scatter about the unimodal fit that sampling error does not explain."""
    count = len(cost)
    levels = 1 + int(np.count_nonzero(np.diff(fit)))
    freedom = max(1.0, count - _LEVEL_COST * levels)
    total = np.sum([source.covariance for source in curve.noise], axis=0)
    step = np.diff(np.eye(count), axis=0)
    sampling = float(np.mean(np.diagonal(step @ total @ step.T))) / 2
    excess = float(np.sum((cost - fit) ** 2)) / freedom - sampling
    if curve.runs > 1 or excess <= 0:
        return curve.noise, 0.0
    return (*curve.noise, Noise("roughness", excess * np.eye(count), freedom)), excess**0.5


def _sample_noise(means: Array, weights: Array, clusters: Sequence[object] | None) -> Noise:
    """Covariance of the weighted means of `means` (checkpoints, samples), linearised, by cluster."""
    share = weights / weights.sum()
    influence = share * (means - (means @ share)[:, None])
    if clusters is not None:
        names, index = np.unique(np.asarray([str(cluster) for cluster in clusters]), return_inverse=True)
        influence = np.stack([np.bincount(index, weights=row, minlength=len(names)) for row in influence])
    groups = influence.shape[1]
    if groups < 2:
        raise PliantError("one document says nothing about the spread between documents; measure on at least two")
    return Noise("samples", influence @ influence.T * groups / (groups - 1), groups - 1)


def _seed_noise(points: Sequence[Array], weights: Array) -> list[Noise]:
    """Spread between independent runs, checkpoint by checkpoint; a checkpoint with one run is given the largest spread seen."""
    share = weights / weights.sum()
    spread = [float(np.var(point.mean(axis=1) @ share, ddof=1)) if len(point) > 1 else np.nan for point in points]
    counts = np.asarray([len(point) for point in points])
    variance = np.where(counts > 1, spread, np.nanmax(spread))
    return list(_pointwise("seeds", np.sqrt(variance / counts), np.where(counts > 1, counts - 1, counts.max() - 1)))


def _draw_noise(points: Sequence[Array], weights: Array) -> Noise:
    """Covariance over random draws, the same ones at every checkpoint, of a single run."""
    share = weights / weights.sum()
    draws = min(point.shape[1] for point in points)
    table = np.stack([point[0, :draws] @ share for point in points])
    return Noise("draws", np.atleast_2d(np.cov(table)) / draws, draws - 1)


def _pointwise(source: str, errors: Array, freedom: Array) -> tuple[Noise, ...]:
    """Independent errors of single points, each with its own degrees of freedom."""
    return tuple(
        Noise(source, np.diag(np.where(np.arange(len(errors)) == j, error**2, 0.0)), float(freedom[j])) for j, error in enumerate(errors)
    )


def _checked(tokens: ArrayLike, values: ArrayLike) -> tuple[NDArray[np.int64], Array, NDArray[np.intp]]:
    """Tokens and values in the order of tokens, and that order."""
    counts, numbers = np.asarray(tokens, float), np.asarray(values, float)
    if counts.shape != numbers.shape or counts.ndim != 1 or len(counts) < 2:
        raise PliantError(f"a curve over tokens needs at least two checkpoints, got {counts.size}")
    if not (np.isfinite(counts).all() and np.isfinite(numbers).all()):
        raise PliantError("a curve over tokens holds values that are not finite numbers")
    order = np.argsort(counts, kind="stable")
    if (np.diff(counts[order]) <= 0).any():
        raise PliantError("two values share one token count; average them, or tell them apart (shots, format, learning rate) first")
    return counts[order].round().astype(np.int64), numbers[order], order


def _misfit(values: Array, fit: Array) -> float:
    return float(np.sqrt(np.mean((values - fit) ** 2)))


def _turning_point(tokens: NDArray[np.int64], cost: Array) -> float | None:
    """Vertex in tokens of a quadratic in log2 tokens, if it is a minimum strictly inside the ladder."""
    seen = tokens > 0
    if seen.sum() < 4:
        return None
    position = np.log2(tokens[seen])
    curvature, slope, _ = np.polyfit(position, cost[seen], 2)
    if curvature <= 0:
        return None
    vertex = -slope / (2 * curvature)
    return float(2**vertex) if position[0] < vertex < position[-1] else None


def _caveats(curve: Curve, best: int) -> tuple[str, ...]:
    found: list[str] = []
    if curve.runs == 1:
        found.append("one run per checkpoint: the spread between runs is known only from how rough this curve is")
    if len(curve.values) == 2:
        found.append("two checkpoints only: a direction, not a turning point")
    elif best == 0:
        found.append("the lowest point is the smallest token count: the turning point may lie before it")
    return tuple(found)
