"""Charts as Vega-Lite specifications: plain dictionaries, drawn by the page's own script or as a still SVG.

One look for all: tokens on a logarithmic axis with human numbers, curves told apart by colour, shape and a label at their
end, no frame. Colours are Okabe and Ito's, which hold for colour-blind readers; text and grid take theirs from the page.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pliant.axes import AXES

SKY, BLUE, GREEN, ORANGE, RED, PINK = "#56B4E9", "#0072B2", "#009E73", "#E69F00", "#D55E00", "#CC79A7"
COLOURS = {1: [BLUE], 2: [BLUE, RED], 3: [BLUE, GREEN, RED], 4: [BLUE, GREEN, ORANGE, RED], 5: [SKY, BLUE, GREEN, ORANGE, RED]}
"""From weak to strong, by how many there are."""
MANY = [SKY, BLUE, GREEN, ORANGE, RED, PINK]
SHAPES = ["circle", "square", "triangle-up", "diamond", "triangle-down", "cross"]
LOOKS = {"muted": "#8a8f98", "apart": "#8f6bb3"}
DASHES = {"plain": [1, 0], "muted": [5, 4], "apart": [2, 3]}
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
HEIGHT = 260
LABEL_HEIGHT = 14


@dataclass(frozen=True)
class Line:
    """One curve: `points` are dictionaries with `x`, `y`, `low`, `high` and what their tooltip says under `tip`."""

    name: str
    points: Sequence[dict[str, Any]]
    best: float | None = None
    """The x to ring, where the curve turns."""
    between: tuple[float, float] | None = None
    """Ends in x of the interval of `best`."""
    look: Literal["plain", "muted", "apart"] = "plain"
    """`muted`: grey and dashed, for comparison; `apart`: of another kind than the rest, dotted."""


@dataclass(frozen=True)
class Axes:
    """Titles and scales. A logarithmic x axis is marked where points lie, in the words of `number`."""

    x: str
    y: str
    log_x: bool = True
    log_y: bool = False
    number: Callable[[float], str] = AXES["tokens"].number
    rising: bool = True
    """Whether x grows from left to right."""


def line_chart(lines: Sequence[Line], axes: Axes) -> dict[str, Any]:
    """Curves with error bands, their turning points ringed, their names at their ends; hovering one sets it off."""
    drawn = [line for line in lines if line.points]
    domain = _domain([point for line in drawn for point in line.points], axes.log_y)
    names = [line.name for line in drawn]
    rows = [{**point, "low": max(point["low"], domain[0]), "name": line.name} for line in drawn for point in line.points]
    x, y, colour = _x(axes, rows), _y(axes, domain), _colour(drawn)
    encoding: dict[str, Any] = {"x": x, "color": colour}
    if not axes.log_x:
        encoding["order"] = {"field": "order", "type": "quantitative"}
    dashes = {"domain": names, "range": [DASHES[line.look] for line in drawn]}
    dash = {"field": "name", "type": "nominal", "scale": dashes, "legend": None}
    faded = {"condition": {"param": "hover", "empty": True, "value": 1}, "value": 0.25}
    band = {"condition": {"param": "hover", "empty": True, "value": 0.16}, "value": 0.04}
    shape = {"field": "name", "type": "nominal", "scale": {"domain": names, "range": _shapes(drawn)}, "legend": None}
    tooltip = tooltips(rows)
    hover = {"name": "hover", "select": {"type": "point", "on": "pointerover", "nearest": True, "fields": ["name"], "clear": "pointerout"}}
    marks: list[dict[str, Any]] = [
        {"mark": {"type": "line", "strokeWidth": 2}, "encoding": {**encoding, "y": y, "opacity": faded, "strokeDash": dash}},
        {
            "params": [hover],
            "mark": {"type": "point", "filled": True, "size": 34},
            "encoding": {**encoding, "y": y, "shape": shape, "opacity": faded, "tooltip": tooltip},
        },
        *_turns(drawn, encoding, y),
        _ends(drawn, domain, axes, colour, x, y),
    ]
    if any(row["low"] < row["high"] for row in rows):
        area = {**encoding, "y": {**y, "field": "low"}, "y2": {"field": "high"}, "opacity": band}
        marks.insert(0, {"mark": "area", "encoding": area})
    return {
        "$schema": SCHEMA,
        "width": "container",
        "height": HEIGHT,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "background": None,
        "data": {"values": rows},
        "layer": marks,
        "config": CONFIG,
    }


CONFIG: dict[str, Any] = {
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {"labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal", "titlePadding": 8, "tickSize": 4, "gridOpacity": 1},
    "axisX": {"grid": False, "labelOverlap": "greedy", "labelSeparation": 6},
    "axisY": {"domain": False, "ticks": False, "labelPadding": 6, "tickCount": 5},
}


def _turns(lines: Sequence[Line], encoding: dict[str, Any], y: dict[str, Any]) -> list[dict[str, Any]]:
    """A ring at the best point of a curve that turns, and a bar over the interval of it."""
    rows = [
        {
            "name": line.name,
            "x": line.best,
            "y": point["y"],
            "from": (line.between or (line.best,) * 2)[0],
            "to": (line.between or (line.best,) * 2)[1],
        }
        for line in lines
        for point in line.points
        if line.best is not None and point["x"] == line.best
    ]
    if not rows:
        return []
    bar = {**encoding, "x": {**encoding["x"], "field": "from"}, "x2": {"field": "to"}, "y": y}
    return [
        {"data": {"values": rows}, "mark": {"type": "rule", "strokeWidth": 7, "opacity": 0.28, "strokeCap": "round"}, "encoding": bar},
        {
            "data": {"values": rows},
            "mark": {"type": "point", "filled": False, "size": 150, "strokeWidth": 2},
            "encoding": {**encoding, "y": y},
        },
    ]


def _ends(lines: Sequence[Line], domain: tuple[float, float], axes: Axes, colour: Any, x: Any, y: Any) -> dict[str, Any]:
    """The curves' names at their last points, moved apart where they would lie on each other."""
    scale = math.log if axes.log_y else float
    low, high = scale(domain[0]), scale(domain[1])
    placed = spread([scale(line.points[-1]["y"]) for line in lines], (high - low) * LABEL_HEIGHT / HEIGHT, high)
    last = (max if axes.rising else min)(point["x"] for line in lines for point in line.points)
    rows = [
        {"name": line.name, "x": last if axes.log_x else line.points[-1]["x"], "y": math.exp(place) if axes.log_y else place}
        for line, place in zip(lines, placed, strict=True)
    ]
    return {
        "data": {"values": rows},
        "mark": {"type": "text", "align": "left", "dx": 9, "fontSize": 11, "baseline": "middle"},
        "encoding": {"x": x, "y": y, "text": {"field": "name", "type": "nominal"}, "color": colour},
    }


def spread(places: Sequence[float], gap: float, top: float) -> list[float]:
    """The places, moved as little as it takes to be `gap` apart and not above `top`; in the given order."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = [places[i] for i in order]
    for _ in range(50):  # relax: push neighbours apart by half of what they lack
        for lower in range(len(moved) - 1):
            lack = gap - (moved[lower + 1] - moved[lower])
            if lack > 1e-9 * gap:
                moved[lower] -= lack / 2
                moved[lower + 1] += lack / 2
    over = max(0.0, max(moved, default=top) - top)
    answer = [0.0] * len(places)
    for place, i in zip(moved, order, strict=True):
        answer[i] = place - over
    return answer


def tooltips(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What hovering tells, from each row's `tip`, whose lines move to numbered columns: names may hold anything, fields not."""
    names = list(dict.fromkeys(name for row in rows for name in row["tip"]))
    for row in rows:
        tip = row.pop("tip")
        row.update({f"tip{number}": tip[name] for number, name in enumerate(names) if name in tip})
    return [{"field": f"tip{number}", "title": name, "type": "nominal"} for number, name in enumerate(names)]


def _domain(points: Sequence[dict[str, Any]], log: bool) -> tuple[float, float]:
    high = max(point["high"] for point in points)
    if log:
        low = foot(points)
        return low / (high / low) ** 0.05, high * (high / low) ** 0.05
    low = min(point["low"] for point in points)
    margin = 0.05 * ((high - low) or abs(high) or 1)
    return low - margin, high + margin


def foot(points: Sequence[dict[str, Any]]) -> float:
    """Where a logarithmic axis begins, which no error reaching towards zero may stretch: at most a factor 3 below the points."""
    return min(max(point["low"], point["y"] / 3) for point in points)


def _x(axes: Axes, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    axis: dict[str, Any] = {"title": axes.x} if axes.log_x else {"title": axes.x, "tickCount": 5}
    scale: dict[str, Any] = {"nice": False, **({"type": "log"} if axes.log_x else {"zero": False})}
    if not axes.rising:
        scale["reverse"] = True
    if axes.log_x:
        values = sorted({row["x"] for row in rows})
        names = [axes.number(value) for value in values]  # as in tables: Vega's own rounding is another
        axis |= {"values": values, "labelExpr": f"{json.dumps(names)}[indexof({json.dumps(values)}, datum.value)]"}
    return {"field": "x", "type": "quantitative", "scale": scale, "axis": axis}


def _y(axes: Axes, domain: tuple[float, float]) -> dict[str, Any]:
    scale: dict[str, Any] = {"domain": list(domain), "nice": False, **({"type": "log"} if axes.log_y else {"zero": False})}
    title = {
        "title": axes.y,
        "titleAngle": 0,
        "titleAlign": "left",
        "titleAnchor": "end",
        "titleBaseline": "bottom",
        "titleX": -34,
        "titleY": -10,
    }
    axis: dict[str, Any] = title | ({"values": round_numbers(*domain), "format": "~g"} if axes.log_y else {})
    return {"field": "y", "type": "quantitative", "scale": scale, "axis": axis}


def round_numbers(low: float, high: float) -> list[float]:
    """Marks for a logarithmic axis: powers of ten, with 2 and 5 times them where there are few."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1,) if high / low > 300 else (1, 3) if high / low > 30 else (1, 2, 5)
    return [number for decade in decades for step in steps if low <= (number := step * 10.0**decade) <= high]


def _colour(lines: Sequence[Line]) -> dict[str, Any]:
    count = sum(line.look == "plain" for line in lines)
    bright = iter(COLOURS.get(count, MANY * len(lines)))
    colours = [LOOKS.get(line.look) or next(bright) for line in lines]
    return {"field": "name", "type": "nominal", "scale": {"domain": [line.name for line in lines], "range": colours}, "legend": None}


def _shapes(lines: Sequence[Line]) -> list[str]:
    return [SHAPES[place % len(SHAPES)] for place in range(len(lines))]
