"""Curves along a ladder: what a checkpoint is worth after the change, and what the change cost it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pliant.decide.curves.checkpoint import CheckpointDecision
from pliant.report.bands import reach, told
from pliant.report.charts import Axes, Line, line_chart
from pliant.report.parts import Figure, Gallery, Paragraph, Part, Section
from pliant.report.results import LadderDecisions, Results


def after_the_change(results: Results) -> Section | None:
    """One picture for each family of changes and measure: the curves beside the unchanged checkpoints'."""
    parts = _galleries(results, _curve_figure)
    if not parts:
        return None
    return Section(
        "After the change",
        "Each curve is one change of every checkpoint; the dashed one is the unchanged checkpoint. A ring marks the best checkpoint "
        "where the curve turns, the bar behind it the interval of it. Bands are 90% intervals for comparing points of one curve, on "
        "the wide side where seeds are few; verdicts weigh each source of error by itself and can be surer.",
        parts,
    )


def sensitivity(results: Results) -> Section | None:
    """What each change cost, paired with the unchanged checkpoint, on logarithmic axes."""
    parts = _galleries(results, _sensitivity_figure)
    if not parts:
        return None
    return Section(
        "Sensitivity",
        "How much worse the change made each checkpoint, on the same samples, on logarithmic axes: a straight line is a power of what "
        "it runs over. Points at or below zero cannot be shown; a band that runs to the foot of its picture reaches further down, "
        "hovering says whether below zero.",
        parts,
    )


def _galleries(results: Results, figure: Any) -> list[Part]:
    parts: list[Part] = []
    for ladder in results.ladders:
        drawn = [
            figure(ladder, measure, family, members) for measure in ladder.measures for family, members in ladder.families(measure).items()
        ]
        figures = [one for one in drawn if one is not None]
        if figures and len(results.ladders) > 1:
            parts.append(Paragraph(ladder.name))
        if figures:
            parts.append(Gallery(figures))
    return parts


def _curve_figure(ladder: LadderDecisions, measure: str, family: str, members: Sequence[CheckpointDecision]) -> Figure:
    base = ladder.unchanged(measure)
    lines = [_line(found.member, found) for found in members]
    if base is not None:
        lines.insert(0, Line("unchanged", curve_points(base), look="muted"))
    unit = members[0].evidence.unit
    title = title_of(ladder, measure, family)
    axes = Axes(ladder.axis.title, f"{measure}, {unit}", log_x=_logarithmic(lines), number=ladder.axis.number, rising=ladder.axis.rising)
    return Figure(title, _describe(title, members), line_chart(lines, axes))


def _logarithmic(lines: Sequence[Line]) -> bool:
    """Whether the axis can be: the beginning of a run has no logarithm."""
    return all(point["x"] > 0 for line in lines for point in line.points)


def title_of(ladder: LadderDecisions, measure: str, family: str) -> str:
    """The family, and the measure where there is more than one."""
    return family if len(ladder.measures) == 1 else f"{family}: {measure}"


def _line(name: str, found: CheckpointDecision) -> Line:
    turned = found.verdict == "degrades"
    between = (found.low, found.high) if turned else None
    return Line(name, curve_points(found), found.best if turned else None, between, look_of(found))


def look_of(found: CheckpointDecision) -> Literal["plain", "apart"]:
    """A tuned rate is no step of the sweep, so its curve is drawn apart."""
    return "apart" if found.tuned else "plain"


def curve_points(found: CheckpointDecision) -> list[dict[str, Any]]:
    """A decision's curve as a chart's points."""
    points: list[dict[str, Any]] = []
    for point in found.evidence.curve:
        value, half = point.value, reach(found, point, "paired_stderr")
        tip = {"after": found.axis.at(point.position), "value": f"{value:z.3f} ± {half:.3f}"}
        if point.delta is not None and not found.change.unchanged:
            tip["change"] = f"{point.delta:+z.3f} ± {reach(found, point, 'delta_stderr'):.3f}"
        if point.lr is not None:
            tip["tuned lr"] = f"{point.lr:g}"
        points.append({"x": point.position, "y": value, "low": value - half, "high": value + half, "tip": tip})
    return points


def _describe(title: str, members: Sequence[CheckpointDecision]) -> str:
    """The picture in words."""
    verdicts = [f"{found.member}: {found.sentence()}" for found in members]
    return f"{title} over {members[0].axis.title}. " + "; ".join(verdicts) + "."


def _sensitivity_figure(ladder: LadderDecisions, measure: str, family: str, members: Sequence[CheckpointDecision]) -> Figure | None:
    lines = [Line(found.member, _costs(found), look=look_of(found)) for found in members]
    lines = [line for line in lines if len(line.points) >= 2]
    if 2 * len(lines) < len(members):  # a change that mostly helps, as fine-tuning does its own task
        return None
    title = title_of(ladder, measure, family)
    ends = "; ".join(f"{line.name} from {line.points[0]['y']:.3g} to {line.points[-1]['y']:.3g}" for line in lines)
    unit = members[0].evidence.unit
    span = ladder.axis.listed((lines[0].points[place]["x"] for place in (0, -1)), " and ")
    description = f"How much worse after {title}, between {span}: {ends}."
    up = _worse(measure, unit, members[0].evidence.higher_is_better)
    axes = Axes(ladder.axis.title, up, log_x=_logarithmic(lines), log_y=True, number=ladder.axis.number, rising=ladder.axis.rising)
    return Figure(title, description, line_chart(lines, axes))


def _worse(measure: str, unit: str, higher_is_better: bool) -> str:
    """The name of an axis of costs."""
    return f"{'lost of' if higher_is_better else 'added to'} {measure}, {unit}"


def _costs(found: CheckpointDecision) -> list[dict[str, Any]]:
    points: list[dict[str, Any]] = []
    for point in found.evidence.curve:
        cost, half = found.cost(point), reach(found, point, "delta_stderr")
        if cost is not None and cost > 0:
            tip = {"after": found.axis.at(point.position), "worse by": told(cost, half)}
            points.append({"x": point.position, "y": cost, "low": cost - half, "high": cost + half, "tip": tip})
    return points
