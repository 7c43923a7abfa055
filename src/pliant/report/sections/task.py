"""Fine-tuning's two sides in one picture: what the task gained and what everything else lost, checkpoint by checkpoint."""

from __future__ import annotations

from typing import Any

from pliant.decide.curves.checkpoint import CheckpointDecision
from pliant.decide.curves.tuned import task_among
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
        "Each path follows the checkpoints from the first to the last, which carries its name: up and down is the task that was trained "
        "on, across is everything else. A path that turns across pays for the task with what was forgotten.",
        [Gallery(figures)],
    )


def _figures(ladder: LadderDecisions, several: bool) -> list[Figure]:
    if len(ladder.measures) < 2:
        return []
    found: list[Figure] = []
    for family, (generic, task) in _pairs(ladder).items():
        members, others = ladder.families(generic)[family], ladder.families(task)
        tasks = {decision.member: decision for decision in others.get(family, [])}
        lines = [_path(decision, tasks[decision.member]) for decision in members if decision.member in tasks]
        lines = [line for line in lines if len(line.points) >= 2]
        if lines:
            title = f"{family} ({ladder.name})" if several else family
            axes = Axes(_titled(members[0]), _titled(others[family][0]), log_x=False)
            told = "; ".join(_told(line, generic, task) for line in lines)
            found.append(Figure(title, f"{title}: {task} against {generic} along the ladder. {told}.", line_chart(lines, axes)))
    return found


def _pairs(ladder: LadderDecisions) -> dict[str, tuple[str, str]]:
    """For each family of changes that train, the measure that most changes were judged by beside the task, and the task."""
    read: dict[str, dict[str, bool]] = {}
    for measure in ladder.measures:
        for family, members in ladder.families(measure).items():
            if members[0].change.trains:
                read.setdefault(family, {})[measure] = members[0].evidence.reads_training_data
    tasks = {family: task_among(measures) for family, measures in read.items()}
    others = {family: [name for name in measures if name != tasks[family]] for family, measures in read.items()}
    return {family: (others[family][0], task) for family, task in tasks.items() if task and others[family]}


def _titled(found: CheckpointDecision) -> str:
    """A measure, its unit, and which way is better where that is not down."""
    better = ", higher is better" if found.evidence.higher_is_better else ""
    return f"{found.metric}, {found.evidence.unit}{better}"


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
