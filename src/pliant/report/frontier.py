"""The figure of learning against forgetting along every arm's runs."""

from __future__ import annotations

from typing import Any

from pliant.decide.methods.answer import ArmResult, MethodDecision
from pliant.report.charts import Axes, Line, line_chart
from pliant.report.parts import Figure


def frontier(found: MethodDecision) -> Figure | None:
    """Forgotten against learned, along the final runs of every arm; None where nothing ran."""
    drawn = [_line(arm, found) for arm in found.arms if arm.path]
    if not drawn:
        return None
    axes = Axes(f"learned, {found.units[0]}, higher is better", f"forgotten, {found.units[1]}, lower is better", log_x=False)
    spec = line_chart(drawn, axes)
    said = "; ".join(f"{line.name}: learned {line.points[-1]['x']:.3g}, forgotten {line.points[-1]['y']:.3g}" for line in drawn)
    if found.level is not None:
        at = {"values": [{"x": found.base - found.level}]}
        x = {"field": "x", "type": "quantitative"}
        spec["layer"].append({"data": at, "mark": {"type": "rule", "strokeDash": [4, 4], "opacity": 0.6}, "encoding": {"x": x}})
        said += f". Arms are compared at the dashed line, a target loss of {found.level:.4g}"
    return Figure(f"{found.keep}, forgotten for {found.target}", f"At the end of the runs: {said}.", spec)


def _line(arm: ArmResult, found: MethodDecision) -> Line:
    points: list[dict[str, Any]] = []
    for one in arm.path:
        learned, lost = one["learned"], one["forgotten"]
        tip = {
            "arm": f"{arm.name}, {arm.short()}",
            "step": f"{one['steps']:,}",
            "learned": f"{learned['value']:.4f} [{learned['low']:.4f}, {learned['high']:.4f}]",
            "forgotten": f"{lost['value']:.4f} [{lost['low']:.4f}, {lost['high']:.4f}]",
        }
        place = {"x": learned["value"], "y": lost["value"], "low": lost["low"], "high": lost["high"]}
        points.append({**place, "order": one["steps"], "tip": tip})
    return Line(arm.name, points)
