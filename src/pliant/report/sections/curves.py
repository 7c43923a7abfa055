"""Curves over tokens: what a checkpoint is worth after the change, and what the change cost it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pliant.decide.curves.checkpoint import CheckpointDecision
from pliant.decide.curves.labels import Label
from pliant.decide.curves.series import token_count
from pliant.report.bands import reach, told
from pliant.report.charts import Axes, Line, line_chart
from pliant.report.parts import Figure, Gallery, Paragraph, Part, Section
from pliant.report.results import Ladder, Results

TOKENS = "pretraining tokens"


def after_the_change(results: Results) -> Section | None:
    """One picture for each family of changes and measure: the curves over tokens beside the unchanged checkpoints'."""
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
        "What the change added to the loss, on the same samples, on logarithmic axes: a straight line is a power of the tokens. "
        "Points at or below zero cannot be shown; a band that runs to the foot of its picture reaches further down, hovering says "
        "whether below zero.",
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


def _curve_figure(ladder: Ladder, measure: str, family: str, members: Sequence[tuple[Label, CheckpointDecision]]) -> Figure:
    base = ladder.unchanged(measure)
    lines = [_line(named.member or family, found) for named, found in members]
    if base is not None:
        lines.insert(0, Line("unchanged", curve_points(base), look="muted"))
    unit = members[0][1].evidence["unit"]
    title = title_of(ladder, measure, family)
    return Figure(title, _describe(title, members), line_chart(lines, Axes(TOKENS, f"{measure}, {unit}")))


def title_of(ladder: Ladder, measure: str, family: str) -> str:
    """The family, and the measure where there is more than one."""
    return family if len(ladder.measures) == 1 else f"{family}: {measure}"


def _line(name: str, found: CheckpointDecision) -> Line:
    turned = found.verdict == "degrades"
    between = (found.low, found.high) if turned else None
    return Line(name, curve_points(found), found.best if turned else None, between, look_of(found))


def look_of(found: CheckpointDecision) -> Literal["plain", "apart"]:
    """A tuned rate is no step of the sweep, so its curve is drawn apart."""
    return "apart" if "lr" in found.evidence["curve"][0] else "plain"


def curve_points(found: CheckpointDecision) -> list[dict[str, Any]]:
    """A decision's curve as a chart's points."""
    points: list[dict[str, Any]] = []
    for point in found.evidence["curve"]:
        value, half = point["value"], reach(found, point, "paired_stderr")
        tip = {"after": f"{token_count(point['tokens'])} tokens", "value": f"{value:z.3f} ± {half:.3f}"}
        if point["delta"] is not None and found.change["kind"] != "none":
            tip["change"] = f"{point['delta']:+z.3f} ± {reach(found, point, 'delta_stderr'):.3f}"
        if "lr" in point:
            tip["tuned lr"] = f"{point['lr']:g}"
        points.append({"x": point["tokens"], "y": value, "low": value - half, "high": value + half, "tip": tip})
    return points


def _describe(title: str, members: Sequence[tuple[Label, CheckpointDecision]]) -> str:
    """The picture in words."""
    verdicts = [f"{named.member or named.family}: {found.sentence()}" for named, found in members]
    return f"{title} over pretraining tokens. " + "; ".join(verdicts) + "."


def _sensitivity_figure(ladder: Ladder, measure: str, family: str, members: Sequence[tuple[Label, CheckpointDecision]]) -> Figure | None:
    lines = [Line(named.member or family, _deltas(found), look=look_of(found)) for named, found in members]
    lines = [line for line in lines if len(line.points) >= 2]
    if 2 * len(lines) < len(members):  # a change that mostly helps, as fine-tuning does its own task
        return None
    title = title_of(ladder, measure, family)
    ends = "; ".join(f"{line.name} from {line.points[0]['y']:.3g} to {line.points[-1]['y']:.3g}" for line in lines)
    unit = members[0][1].evidence["unit"]
    first, last = (token_count(lines[0].points[place]["x"]) for place in (0, -1))
    description = f"What {title} added, between {first} and {last} tokens: {ends}."
    return Figure(title, description, line_chart(lines, Axes(TOKENS, f"added to {measure}, {unit}", log_y=True)))


def _deltas(found: CheckpointDecision) -> list[dict[str, Any]]:
    points: list[dict[str, Any]] = []
    for point in found.evidence["curve"]:
        delta, half = point["delta"], reach(found, point, "delta_stderr")
        if delta is not None and delta > 0:
            tip = {"after": f"{token_count(point['tokens'])} tokens", "change": told(delta, half)}
            points.append({"x": point["tokens"], "y": delta, "low": delta - half, "high": delta + half, "tip": tip})
    return points
