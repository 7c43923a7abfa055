"""Which checkpoint is best once it is changed, and is going on still worth it?

Idea: for every change and measure of a ledger, the curve along the ladder's axis is judged by `pliant.decide.curves.inflection`;
beside it stand what the change cost at each checkpoint (sensitivity), and what else could explain the picture.
When to use it: after `pliant run` of any ladder of two or more checkpoints.
Cost: about 20 ms a curve.
What goes wrong: each verdict errs in 5% of cases on its own; among forty decisions expect two. Learning-rate decay is a rival
explanation wherever the final learning rates differ along the ladder or are not known (arXiv 2604.13627).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pliant.axes import Axis, axis_named
from pliant.changes import Change
from pliant.decide.curves.curve import Curve
from pliant.decide.curves.inflection import Inflection, Verdict, inflection
from pliant.decide.curves.labels import by_ladder
from pliant.decide.curves.series import Point, Series, read
from pliant.decide.curves.tuned import Tuned, tuned
from pliant.errors import PliantError
from pliant.ledger import Ledger
from pliant.statistics import paired_difference
from pliant.study.runs import records_of

if TYPE_CHECKING:
    from pliant.study.runs import Runs


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
    """Rank correlation of what the change cost with the position: above zero, the longer the costlier."""
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


@dataclass(frozen=True)
class CheckpointDecision:
    """Where one measure after one change turns, along one ladder; fields as in `Inflection`.

    `tuned` says that the change's learning rate was chosen per checkpoint; `metric` is the name the study gives the measure.
    """

    change: Change
    tuned: bool
    metric: str
    verdict: Verdict
    best: float
    low: float
    high: float
    rise: float
    rise_low: float
    rise_high: float
    evidence: Evidence = field(repr=False)

    @property
    def axis(self) -> Axis:
        """What the ladder runs over."""
        return axis_named(self.evidence.axis)

    def cost(self, point: PointEvidence) -> float | None:
        """How much worse the change made a checkpoint, in the metric's unit; below zero where better, None where it is not known."""
        return worse_by(point.delta, self.evidence.higher_is_better)

    @property
    def name(self) -> str:
        """What people call the change."""
        return self.change.name(self.tuned)

    @property
    def member(self) -> str:
        """What tells it apart from the other changes of its title."""
        return self.change.member(self.tuned) or self.change.title()

    def json(self) -> dict[str, Any]:
        """Plain JSON values. The change's `lr` reads `tuned` where it was chosen per checkpoint."""
        places = {name: self.axis.plain(getattr(self, name)) for name in ("best", "low", "high")}
        evidence = {name: value for name, value in vars(self.evidence).items() if name != "curve"}
        evidence |= {"axis": self.axis.name, "curve": [point.json(self.axis) for point in self.evidence.curve]}
        told = {name: value for name, value in vars(self).items() if name != "tuned"}
        return told | {"change": self.change.told(self.tuned), **places, "evidence": evidence}

    def __str__(self) -> str:
        return f"{self.name}, {self.metric}: {self.sentence()}"

    def sentence(self) -> str:
        """The answer in one sentence."""
        axis = self.axis
        last = self.evidence.curve[-1].position
        low, high = axis.number(self.low), axis.number(self.high)
        between = f", 90% interval {low} to {high}" if low != high else ""
        by = f"{abs(self.rise):.3g} {self.evidence.unit}"
        if self.verdict == "degrades":
            return f"best at {axis.at(self.best)}{between}; the checkpoint at {axis.number(last)} is worse by {by}"
        if self.verdict == "improves":
            return f"still improves at {axis.at(last)}"
        return f"undetermined: any checkpoint from {low} to {high} {axis.unit} may be the best"


def worse_by(rise: float | None, higher_is_better: bool) -> float | None:
    """What a rise of a metric costs; None where it is not known."""
    return -rise if rise is not None and higher_is_better else rise


class Decisions(list[CheckpointDecision]):
    """A list that prints as a line for each decision, under the name of its ladder where there are several."""

    def __str__(self) -> str:
        ladders = by_ladder(self)
        parts = ["\n".join(map(str, found)) for found in ladders.values()]
        return "\n\n".join(f"{name}\n{part}" for name, part in zip(ladders, parts, strict=True)) if len(parts) > 1 else "".join(parts)


def decide(results: Runs | Ledger | str | Path) -> Decisions:
    """One decision for every (ladder, change, measure) of a study's runs or of a whole ledger, unchanged checkpoints included.

    Changes swept over a learning rate are also judged at the rate tuned per checkpoint. Raises PliantError when no change
    was measured at two or more places of one ladder.
    """
    ledger = records_of(results)
    series = [found for found in read(ledger) if len(found.points) >= 2]
    if not series:
        raise PliantError(f"{ledger.folder}: {_missing(ledger)}")
    views = [Tuned(found, {}, []) for found in series] + tuned(series)
    return Decisions(_decide(view, _positions(view.series.ladder, series)) for view in views)


def _missing(ledger: Ledger) -> str:
    """Why there is nothing to decide."""
    lacking = ledger.sql(
        "select axis, count(distinct checkpoint) as n from records where status = 'ok' and position is null group by axis order by n desc"
    ).to_pylist()
    if lacking:
        axis, unknown = axis_named(lacking[0]["axis"]), lacking[0]["n"]
        remedy = "give `batch_tokens` (tokens a step) or `tokens: {NAME: 100M}`" if axis.name == "tokens" else "name another `axis`"
        told = f"the {axis.title} of {unknown} checkpoints are not known: {remedy} with the study's checkpoints"
        return f"{told}, and run it again; nothing is measured twice"
    axes = [axis_named(name).unit for name in ledger.sql("select distinct axis from records order by axis")["axis"].to_pylist()]
    return f"no change was measured at two checkpoints of different {' or '.join(axes) or 'tokens'}; a ladder needs at least two"


def _positions(ladder: Mapping[str, Any], series: Sequence[Series]) -> set[float]:
    """Every place at which anything was measured along a ladder."""
    return {point.position for found in series if found.ladder == ladder for point in found.points}


def _decide(view: Tuned, ladder: set[float]) -> CheckpointDecision:
    series = view.series
    curve = series.curve()
    found = inflection(curve)
    return CheckpointDecision(
        change=series.change,
        tuned=series.tuned,
        metric=series.measure,
        verdict=found.verdict,
        best=found.best,
        low=found.low,
        high=found.high,
        rise=found.rise,
        rise_low=found.rise_low,
        rise_high=found.rise_high,
        evidence=_evidence(view, curve, found, ladder),
    )


def _evidence(view: Tuned, curve: Curve, found: Inflection, ladder: set[float]) -> Evidence:
    series = view.series
    points = _points(series, curve, found, view.rates)
    costs = [(point.position, cost) for point in points if (cost := worse_by(point.delta, series.higher_is_better)) is not None]
    return Evidence(
        **series.ladder,
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
        found.append(f"no value at {', '.join(map(series.axis.number, sorted(missing)))} {series.axis.unit}")
    return found


def spearman(first: Any, second: Any) -> float | None:
    """Rank correlation, ties sharing their mean rank; None where one of the two is constant."""
    ranks = [_ranks(np.asarray(values, float)) for values in (first, second)]
    if any(np.ptp(rank) == 0 for rank in ranks):
        return None
    return round(float(np.corrcoef(ranks[0], ranks[1])[0, 1]), 12)  # one is one


def _ranks(values: Any) -> Any:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]
