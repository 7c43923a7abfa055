"""What a decision about a curve rests on: its checkpoints one by one, and the facts that could explain the picture otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pliant.axes import Axis
from pliant.decide.curves.curve import Curve
from pliant.decide.curves.inflection import Inflection
from pliant.decide.curves.series import Point, Series
from pliant.decide.curves.tuned import Tuned
from pliant.statistics import paired_difference, spearman


@dataclass(frozen=True)
class PointEvidence:
    """One checkpoint of a curve; values and errors in the metric's unit."""

    position: float
    """On the ladder's axis."""
    value: float
    stderr: float
    """Of the value alone."""
    paired_stderr: float
    """For comparing points of the curve."""
    fit: float
    """The unimodal fit."""
    final_lr: float | None
    seeds: int
    draws: int
    lr: float | None
    """The rate that was tuned, where one was."""
    base: float | None
    """The unchanged checkpoint's value, where it is known; `delta` is what the change did, paired."""
    base_stderr: float | None
    delta: float | None
    delta_stderr: float | None

    def json(self, axis: Axis) -> dict[str, Any]:
        """Plain values; the position also under the axis's name."""
        plain = asdict(self) | {"position": axis.plain(self.position), axis.name: axis.plain(self.position)}
        return {name: value for name, value in plain.items() if name != "lr" or value is not None}


@dataclass(frozen=True)
class Evidence:
    """What a decision rests on."""

    study: str
    family: str
    params: int | None
    schedule: str | None
    peak_lr: float | None
    training_bits: float | None
    axis: str | None
    phase: str | None
    """Of training, where all checkpoints are of one."""
    measure: str
    metric: str
    unit: str
    higher_is_better: bool
    seeds: int
    runs: int
    """Smallest number of independent runs behind a point."""
    draws: int
    samples: int
    documents: int
    spearman: float | None
    """Rank correlation of what the change cost with the place along the ladder: above zero, the further the costlier."""
    roughness: float
    turning: float | None
    monotone_misfit: float
    unimodal_misfit: float
    final_lr_differs: bool | None
    """None where the final learning rates are not known everywhere."""
    caveats: list[str]
    reads_training_data: bool
    """Whether the measure reads what the change trains on."""
    curve: list[PointEvidence]


def evidence_of(view: Tuned, curve: Curve, found: Inflection, ladder: set[float]) -> Evidence:
    """What is known of a view of a series; `ladder` is every place at which anything was measured along it."""
    series = view.series
    points = _points(series, curve, found, view.rates)
    along, higher = series.axis.along, series.higher_is_better
    costs = [(along(point.position), cost) for point in points if (cost := worse_by(point.delta, higher)) is not None]
    return Evidence(
        **series.ladder,
        phase=series.phase,
        measure=series.measure,
        metric=series.metric,
        unit=series.unit,
        higher_is_better=series.higher_is_better,
        seeds=min(len(point.values) for point in series.points),
        runs=curve.runs,
        draws=min(map(series.draws, series.points)),
        samples=len(series.weights),
        documents=len(set(series.documents)),
        spearman=spearman(*zip(*costs, strict=True)) if len(costs) >= 2 and not series.change.unchanged else None,
        roughness=found.roughness,
        turning=found.turning,
        monotone_misfit=found.monotone_misfit,
        unimodal_misfit=found.unimodal_misfit,
        final_lr_differs=final_lr_differs(series),
        caveats=[*found.caveats, *_caveats(series, ladder), *view.caveats],
        reads_training_data=series.reads_training_data(),
        curve=points,
    )


def _points(series: Series, curve: Curve, found: Inflection, rates: Mapping[float, float]) -> list[PointEvidence]:
    errors = zip(series.points, curve.values, curve.stderr(), curve.paired_stderr(), found.fit, strict=True)
    return [
        PointEvidence(
            position=point.position,
            value=float(value),
            stderr=float(stderr),
            paired_stderr=float(np.hypot(paired, found.roughness)),
            fit=float(fit),
            final_lr=point.final_lr,
            seeds=len(point.values),
            draws=series.draws(point),
            lr=rates.get(point.position),
            **_paired(series, point),
        )
        for point, value, stderr, paired, fit in errors
    ]


def _paired(series: Series, point: Point) -> dict[str, float | None]:
    """The unchanged checkpoint, and what the change did to it; all None where it was not measured."""
    names = ("base", "base_stderr", "delta", "delta_stderr")
    if point.base is None:
        return dict.fromkeys(names)
    clusters = series.clusters([point])
    unchanged = paired_difference(point.base[:, None, :], np.zeros_like(point.base), series.weights, clusters)
    rise = paired_difference(point.values, point.base, series.weights, clusters, mirrored=series.change.mirrored)
    return dict(zip(names, (unchanged.value, unchanged.stderr, rise.value, rise.stderr), strict=True))


def final_lr_differs(series: Series) -> bool | None:
    """Whether the learning rate at the end of training differs along the ladder; None where it is not known everywhere."""
    rates = [point.final_lr for point in series.points]
    known = [value for value in rates if value is not None]
    if len(known) < len(rates):
        return None
    return max(known) - min(known) > 0.01 * max(known)


def _caveats(series: Series, ladder: set[float]) -> list[str]:
    found: list[str] = []
    differs = final_lr_differs(series)
    if differs:
        ends = [point.final_lr for point in series.points]
        found.append(f"final learning rates differ along the ladder ({ends[0]:g} to {ends[-1]:g}): decay may explain the curve")
    elif differs is None:
        found.append("final learning rates are not known: learning-rate decay cannot be ruled out as the explanation")
    missing = ladder - {point.position for point in series.points}
    if missing:
        found.append(f"no value at {series.axis.listed(sorted(missing, key=series.axis.along))}")
    return found


def worse_by(rise: float | None, higher_is_better: bool) -> float | None:
    """What a rise of a metric costs; None where it is not known."""
    return -rise if rise is not None and higher_is_better else rise
