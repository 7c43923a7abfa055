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
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pliant.axes import Axis, axis_named
from pliant.changes import Change
from pliant.decide.curves.evidence import Evidence, PointEvidence, evidence_of, worse_by
from pliant.decide.curves.inflection import Turning, inflection
from pliant.decide.curves.labels import by_ladder
from pliant.decide.curves.series import Series, read, reading_name
from pliant.decide.curves.tuned import Tuned, tuned
from pliant.errors import PliantError
from pliant.ledger import Ledger
from pliant.study.runs import records_of

if TYPE_CHECKING:
    from pliant.study.runs import Runs


@dataclass(frozen=True, kw_only=True)
class CheckpointDecision(Turning):
    """Where one measure after one change turns, along one ladder.

    `tuned` says that the change's learning rate was chosen per checkpoint; `metric` is the name the study gives the measure, with the
    metric's own where the measure has several: `acc brier`.
    """

    change: Change
    tuned: bool
    metric: str
    evidence: Evidence = field(repr=False)

    @property
    def axis(self) -> Axis:
        """What the ladder runs over."""
        return axis_named(self.evidence.axis, self.evidence.phase)

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
        evidence["flat_from"] = None if self.flat_from is None else self.axis.plain(self.flat_from)
        rises = {"rise": self.rise, "rise_low": self.rise_low, "rise_high": self.rise_high}
        about = {"change": self.change.told(self.tuned), "metric": self.metric, "verdict": self.verdict}
        return about | places | rises | {"evidence": evidence}

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
            return f"best {axis.reached(self.best)}{between}; the checkpoint at {axis.number(last)} is worse by {by}"
        if self.verdict == "improves":
            return f"still improves {axis.reached(last)}"
        if self.flat_from is not None:
            return f"improves, and is flat from {axis.at(self.flat_from)} on, {'up' if axis.rising else 'down'} to {axis.number(last)}"
        return f"undetermined: any checkpoint from {axis.listed((self.low, self.high), ' to ')} may be the best"


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
    metrics = {found.measure: {other.metric for other in series if other.measure == found.measure} for found in series}
    return Decisions(_decide(view, _positions(view.series.ladder, series), metrics) for view in views)


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


def _decide(view: Tuned, ladder: set[float], metrics: Mapping[str, set[str]]) -> CheckpointDecision:
    series = view.series
    curve = series.curve()
    found = inflection(curve)
    return CheckpointDecision(
        **{part.name: getattr(found, part.name) for part in fields(Turning)},
        change=series.change,
        tuned=series.tuned,
        metric=reading_name(series.measure, series.metric, metrics[series.measure]),
        evidence=evidence_of(view, curve, found, ladder),
    )
