"""Where does a curve along a ladder turn, and does it really get worse after that?

Idea: the loss of a changed checkpoint falls with tokens, and may rise again (catastrophic overtraining). Fit the best
unimodal curve (down, then up); its bottom is D*. Whether the rise after it is real is a question about the largest of many
differences, "last checkpoint minus each earlier one", so its lower bound is simultaneous over all of them: picking the
lowest point afterwards is paid for, and a flat or falling curve is called degrading in at most 5% of cases.
When to use it: any ladder of two or more checkpoints, from samples or from a table. Losses and accuracies alike.
Cost: milliseconds; numpy only.
What goes wrong: with one run per checkpoint, nothing tells run-to-run spread apart from shape but the roughness of the
curve itself. Roughness is charged, yet a short ladder can look smooth by luck: of flat curves with six points and a spread
three times the sampling error, 16% are called degrading (five points: 25%, eight: 8%). Believe one run less than three.
Source: the unimodal estimator of catastrophic overtraining (after arXiv 2503.19206); max-t bounds, studentized by a
parametric bootstrap; residual degrees of freedom of a monotone fit after Meyer and Woodroofe (Annals of Statistics 2000),
who count 1.5 for each level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pliant.decide.curves.curve import Curve, Noise
from pliant.decide.curves.plateau import flat_from
from pliant.statistics import Array

Verdict = Literal["degrades", "improves", "plateau", "undetermined"]

_RESAMPLES = 4000
_CONFIDENCE = 0.95  # of each one-sided bound; 90% for an interval of two
_LEVEL_COST = 1.5  # degrees of freedom that one level of a monotone fit uses up


@dataclass(frozen=True, kw_only=True)
class Turning:
    """Whether and where a curve turns; all positions on its axis, all rises in the metric's unit and positive when worse, also where
    higher values are better.
    """

    verdict: Verdict
    best: float
    """The bottom of the unimodal fit, D*; where the curve improves, the last checkpoint."""
    low: float
    """Ends of its 90% interval: the checkpoints that the data cannot rule out as the best."""
    high: float
    rise: float
    """How much worse the last checkpoint is than the best earlier one; `rise_low` and `rise_high` are one-sided 95% bounds."""
    rise_low: float
    rise_high: float
    flat_from: float | None = None
    """Where a plateau begins; None where none is shown."""


@dataclass(frozen=True, kw_only=True)
class Inflection(Turning):
    """What a curve shows.

    `fit` (checkpoints,) is the unimodal fit, `monotone_misfit` and `unimodal_misfit` are root mean square residuals of the two fits,
    `roughness` is the standard deviation between runs inferred from the curve's own scatter (0 where several runs show it directly),
    `turning` the vertex of a quadratic in log position where that is a minimum inside the ladder.
    """

    fit: Array = field(repr=False)
    monotone_misfit: float
    unimodal_misfit: float
    roughness: float
    turning: float | None
    caveats: tuple[str, ...]


def inflection(curve: Curve, seed: int = 0) -> Inflection:
    """Judge a curve: `degrades`, `improves`, `plateau` or `undetermined`.

    Checkpoints are in the order of the ladder, so the last one of a ladder of densities is its sparsest. `degrades`: the lower
    bound of the rise is above zero. `improves`: what the last checkpoint gained on every checkpoint of at most half its
    position (at least twice, where positions fall) is surely more than what it may have lost since. On a ladder that doubles
    this is just an upper bound of the rise below zero; on a denser one the answer does not hang on how many checkpoints were
    kept. Never an inflection at the last point. `plateau`: neither, but it improved and is shown to be flat since, see `plateau`.
    """
    cost = -curve.values if curve.higher_is_better else curve.values
    fit = unimodal(cost)
    noise, roughness = _with_roughness(curve, cost, fit)
    resamples = _Resamples.draw(noise, seed)
    last = len(cost) - 1
    bounds = [_bounds(cost, noise, j, resamples) for j in range(last + 1)]
    low, highs = bounds[last][0].max(), bounds[last][1]
    possible = [j for j, (lows, _) in enumerate(bounds) if lows.max() <= 0] if highs.max() >= 0 else [last]
    far = curve.far(last)
    improves = low <= 0 and -highs[far[:last] if far[:last].any() else slice(None)].max() > max(0.0, highs.max())
    difference = cost[last] - cost[:last]
    level = None if low > 0 or improves else flat_from(far, difference, highs - difference)
    best = last if improves else min(possible, key=lambda j: (fit[j], cost[j]))
    return Inflection(
        verdict="degrades" if low > 0 else "improves" if improves else "undetermined" if level is None else "plateau",
        best=float(curve.positions[best]),
        low=float(curve.positions[possible].min()),
        high=float(curve.positions[possible].max()),
        rise=float(cost[last] - cost[:last].min()),
        rise_low=float(low),
        rise_high=float(highs.max()),
        flat_from=None if level is None else float(curve.positions[level]),
        fit=-fit if curve.higher_is_better else fit,
        monotone_misfit=_misfit(cost, monotone(cost)),
        unimodal_misfit=_misfit(cost, fit),
        roughness=roughness,
        turning=_turning_point(curve.positions, cost),
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


def unimodal(values: Array) -> Array:
    """The sequence that first does not rise and then does not fall, nearest to `values` in least squares.

    Tries every turning point. Among equally good fits it keeps the one that falls longest: no turn is claimed without need.
    """
    fits = [np.concatenate([monotone(values[:turn]), monotone(values[turn:][::-1])[::-1]]) for turn in range(1, len(values) + 1)]
    misfits = [_misfit(values, fit) for fit in fits]
    tolerance = 1e-9 * float(np.ptp(values))
    return fits[max(turn for turn, misfit in enumerate(misfits) if misfit <= min(misfits) + tolerance)]


@dataclass(frozen=True)
class _Resamples:
    """What repeating the whole measurement would give.

    `deviations` (resamples, checkpoints) of the values, and `scales` (resamples, sources): each source's variance as it would
    be estimated, over the true one.
    """

    deviations: Array
    scales: Array

    @classmethod
    def draw(cls, noise: Sequence[Noise], seed: int) -> _Resamples:
        """A hierarchical bootstrap with Gaussian multipliers: every seed, draw and document gets an independent normal weight.

        Sums of those have just the covariance of their sources, so they are drawn from it. (An ordinary bootstrap of three
        seeds has ten outcomes, and a third of their variance is missing.)
        """
        generator = np.random.default_rng(seed)
        values, vectors = np.linalg.eigh(np.sum([source.covariance for source in noise], axis=0))
        deviations = generator.standard_normal((_RESAMPLES, len(values))) @ (vectors * np.sqrt(np.maximum(values, 0))).T
        scales = np.ones((_RESAMPLES, len(noise)))
        for number, source in enumerate(noise):
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
    step = np.diff(np.eye(count), axis=0)
    sampling = float(np.mean(np.diagonal(step @ curve.covariance() @ step.T))) / 2
    excess = float(np.sum((cost - fit) ** 2)) / max(1.0, count - _LEVEL_COST * levels) - sampling
    if curve.runs > 1 or excess <= 0:
        return curve.noise, 0.0
    return (*curve.noise, Noise("roughness", excess * np.eye(count), max(2, count - levels))), excess**0.5


def _misfit(values: Array, fit: Array) -> float:
    return float(np.sqrt(np.mean((values - fit) ** 2)))


def _turning_point(positions: Array, cost: Array) -> float | None:
    """Vertex of a quadratic in the logarithm of positions, if it is a minimum strictly inside the ladder."""
    seen = positions > 0
    if seen.sum() < 4:
        return None
    position = np.log2(positions[seen])
    curvature, slope, _ = np.polyfit(position, cost[seen], 2)
    if curvature <= 0:
        return None
    vertex = -slope / (2 * curvature)
    return float(2**vertex) if position.min() < vertex < position.max() else None


def _caveats(curve: Curve, best: int) -> tuple[str, ...]:
    found: list[str] = []
    if curve.runs == 1:
        found.append("one run per checkpoint: the spread between runs is known only from how rough this curve is")
    if len(curve.values) == 2:
        found.append("two checkpoints only: a direction, not a turning point")
    elif best == 0 and curve.positions[0] != curve.beginning:
        found.append("the best point is the first one: the turning point may lie before it")
    return tuple(found)
