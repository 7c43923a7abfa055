"""The rival explanation: learning-rate decay, rather than tokens, may be what makes a checkpoint sensitive."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pliant.decide.curves.checkpoint import CheckpointDecision
from pliant.report.charts import Axes, Line, line_chart
from pliant.report.parts import Cell, Figure, Gallery, Paragraph, Part, Section, TablePart, Warnings
from pliant.report.results import LadderDecisions, Results
from pliant.report.sections.curves import curve_points

MOST = 6


def schedule(results: Results) -> Section | None:
    """What is known of each ladder's learning rates; and where two ladders differ in schedule, their curves in one picture."""
    if not results.ladders:
        return None
    parts: list[Part] = [part for ladder in results.ladders for part in _rates(ladder, len(results.ladders) > 1)]
    arms = _arms(results.ladders)
    if arms:
        parts.append(Gallery(arms))
    return Section(
        "Learning-rate schedule",
        "A checkpoint whose learning rate has decayed is sharper, and loses more to the same change, whatever its tokens "
        "(arXiv 2604.13627). Only ladders whose checkpoints end at one learning rate tell tokens apart from decay.",
        parts,
    )


def _rates(ladder: LadderDecisions, several: bool) -> list[Part]:
    found = max(ladder.decisions, key=lambda decision: len(decision.evidence.curve))
    differs, curve = found.evidence.final_lr_differs, found.evidence.curve
    where = f"{ladder.name}: " if several else ""
    if differs is None:
        return [Warnings([f"{where}The final learning rates are not known, so decay cannot be ruled out."])]
    if not differs:
        rate, kind = f"{curve[0].final_lr:g}", found.evidence.schedule or "one"
        return [
            Paragraph(
                f"{where}Every checkpoint ends at the same learning rate, {rate} ({kind} schedule): decay does not differ between them."
            )
        ]
    rows: list[list[Cell]] = [[found.axis.number(point.position), f"{point.final_lr:g}"] for point in curve]
    told = f"every verdict above may be about decay as much as about the {ladder.axis.unit}"
    warning = f"{where}Final learning rates differ along this ladder: {told}."
    return [Warnings([warning]), TablePart([found.axis.unit.capitalize(), "Final learning rate"], rows, numeric=frozenset({0, 1}))]


def _arms(ladders: Sequence[LadderDecisions]) -> list[Figure]:
    """The same change along ladders that differ in schedule, those that turn somewhere first."""
    groups: dict[str, list[CheckpointDecision]] = {}
    for found in (decision for ladder in ladders for decision in ladder.decisions):
        groups.setdefault(json.dumps([found.change.told(found.tuned), found.metric, found.evidence.params], sort_keys=True), []).append(
            found
        )
    several = [group for group in groups.values() if len({found.evidence.schedule for found in group}) > 1]
    turning_first = sorted(several, key=lambda group: not any(found.verdict == "degrades" for found in group))
    return [_arm(group) for group in turning_first[:MOST]]


def _arm(group: Sequence[CheckpointDecision]) -> Figure:
    first = group[0]
    lines = [
        Line(str(found.evidence.schedule), curve_points(found), found.best if found.verdict == "degrades" else None) for found in group
    ]
    title = f"{first.name} ({first.metric})"
    told = "; ".join(f"{found.evidence.schedule}: {found.sentence()}" for found in group)
    axes = Axes(first.axis.title, f"{first.metric}, {first.evidence.unit}", number=first.axis.number)
    return Figure(title, f"{title} by schedule. {told}.", line_chart(lines, axes))
