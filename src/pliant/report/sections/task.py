"""Fine-tuning's two sides in one picture: what the task gained and what everything else lost, checkpoint by checkpoint."""

from __future__ import annotations

from typing import Any

from pliant.decide.curves.checkpoint import CheckpointDecision
from pliant.report.charts import Axes, Line, line_chart
from pliant.report.parts import Figure, Gallery, Section
from pliant.report.results import LadderDecisions, Results
from pliant.report.sections.curves import look_of


def task_and_generic(results: Results) -> Section | None:
    """For every family of changes that train, where they were measured in two ways."""
    figures = [figure for ladder in results.ladders for figure in _figures(ladder, len(results.ladders) > 1)]
    if not figures:
        return None
    return Section(
        "Task against generic",
        "Each path follows the checkpoints from the first to the last, which carries its name: down is a better task, left is less "
        "forgotten. A path that turns to the right pays for the task with everything else.",
        [Gallery(figures)],
    )


def _figures(ladder: LadderDecisions, several: bool) -> list[Figure]:
    if len(ladder.measures) < 2:
        return []
    generic, task = ladder.measures[:2]
    found: list[Figure] = []
    others = ladder.families(task)
    for family, members in ladder.families(generic).items():
        tasks = {decision.member: decision for decision in others.get(family, [])}
        lines = [_path(decision, tasks[decision.member]) for decision in members if decision.member in tasks]
        lines = [line for line in lines if len(line.points) >= 2]
        if lines and members[0].change.trains:
            title = f"{family} ({ladder.name})" if several else family
            unit = members[0].evidence.unit
            axes = Axes(f"{generic}, {unit}", f"{task}, {unit}", log_x=False)
            told = "; ".join(_told(line, generic, task) for line in lines)
            found.append(Figure(title, f"{title}: {task} against {generic} along the ladder. {told}.", line_chart(lines, axes)))
    return found


def _path(generic: CheckpointDecision, task: CheckpointDecision) -> Line:
    after = {point.position: point for point in task.evidence.curve}
    points: list[dict[str, Any]] = []
    for point in generic.evidence.curve:
        other = after.get(point.position)
        if other is not None:
            tip = {
                "after": generic.axis.at(point.position),
                generic.metric: f"{point.value:.3f}",
                task.metric: f"{other.value:.3f}",
            }
            place = {"x": point.value, "y": other.value, "low": other.value, "high": other.value}
            points.append({**place, "order": point.position, "tip": tip})
    return Line(generic.member, points, look=look_of(generic))


def _told(line: Line, generic: str, task: str) -> str:
    first, last = line.points[0], line.points[-1]
    return f"{line.name}: {generic} from {first['x']:.3f} to {last['x']:.3f}, {task} from {first['y']:.3f} to {last['y']:.3f}"
