"""Charts whose points are no curves: a map of coloured cells, points against a diagonal, bars of blocks.

Vega-Lite specifications like those of `pliant.report.charts`, in the same look.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pliant.report.charts import COLOURS, CONFIG, HEIGHT, MANY, ORANGE, RED, SCHEMA, SHAPES, foot, round_numbers

ROW = 34
INK = "#1c1e21"
"""Numbers inside cells, which are light in dark pages, too."""


def heat_map(cells: Sequence[dict[str, Any]], columns: Sequence[str], rows: Sequence[str], x: str, y: str) -> dict[str, Any]:
    """Cells `column`, `row`, `value`, `text`, `best` and `tip`; colour is the value's logarithm, the best of a row is framed.

    Values at or below zero have the colour of the smallest one above it.
    """
    above = [cell["value"] for cell in cells if cell["value"] > 0] or [1.0]
    low, high = min(above), max(above)
    values = [{**cell, "shade": min(max(cell["value"], low), high)} for cell in cells]
    place = {
        "x": {"field": "column", "type": "ordinal", "sort": list(columns), "axis": {"title": x, "labelAngle": 0, "domain": False}},
        "y": {"field": "row", "type": "ordinal", "sort": list(rows), "axis": _upright(y)},
    }
    scale = {"type": "log", "domain": [low, max(high, low * 1.001)], "range": ["#f7efe2", ORANGE, RED], "interpolate": "lab"}
    shade = {"field": "shade", "type": "quantitative", "scale": scale, "legend": None}
    text = {"text": {"field": "text", "type": "nominal"}, "color": {"value": INK}}
    frame = {"type": "rect", "filled": False, "stroke": INK, "strokeWidth": 2.5}
    return {
        **_plain(values, max(2, len(rows)) * ROW),
        "layer": [
            {"mark": {"type": "rect", "cornerRadius": 2}, "encoding": {**place, "color": shade, "tooltip": _tooltip(values)}},
            {"transform": [{"filter": {"field": "best", "equal": True}}], "mark": frame, "encoding": place},
            {"mark": {"type": "text", "fontSize": 10.5}, "encoding": {**place, **text}},
        ],
    }


def scatter_chart(points: Sequence[dict[str, Any]], names: Sequence[str], x: str, y: str) -> dict[str, Any]:
    """Points `x`, `y` (both above zero), `low`, `high`, `name` and `tip` on logarithmic axes of one range, with the line x = y.

    A lower end below the picture is drawn to its foot.
    """
    low = min(foot(points), *(point["x"] for point in points))
    high = max(point[name] for point in points for name in ("x", "high"))
    margin = (high / low) ** 0.04
    domain = [low / margin, high * margin]
    shown = [{**point, "low": max(point["low"], domain[0])} for point in points]
    scale = {"type": "log", "domain": domain, "nice": False}
    marks = {"values": round_numbers(*domain), "format": "~g"}
    across = {"field": "x", "type": "quantitative", "scale": scale, "axis": {"title": x, **marks}}
    up = {"field": "y", "type": "quantitative", "scale": scale, "axis": _upright(y) | marks}
    colours = COLOURS.get(len(names), MANY)
    colour = {"field": "name", "type": "nominal", "scale": {"domain": list(names), "range": colours}, "legend": {"title": None}}
    shape = {"field": "name", "type": "nominal", "scale": {"domain": list(names), "range": SHAPES}, "legend": {"title": None}}
    diagonal = [{"x": edge, "y": edge} for edge in domain]
    return {
        **_plain(shown, HEIGHT),
        "layer": [
            {
                "data": {"values": diagonal},
                "mark": {"type": "line", "color": "#8a8f98", "strokeDash": [5, 4], "strokeWidth": 1.5},
                "encoding": {"x": across, "y": up},
            },
            {
                "mark": {"type": "rule", "opacity": 0.5},
                "encoding": {"x": across, "y": {**up, "field": "low"}, "y2": {"field": "high"}, "color": colour},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 45},
                "encoding": {"x": across, "y": up, "color": colour, "shape": shape, "tooltip": _tooltip(points)},
            },
        ],
    }


def bar_chart(bars: Sequence[dict[str, Any]], names: Sequence[str], x: str, y: str) -> dict[str, Any]:
    """Bars `x` (a whole number), `y`, `low`, `high`, `name` and `tip`, those of different names beside each other."""
    across = {"field": "x", "type": "ordinal", "axis": {"title": x, "labelAngle": 0}}
    beside = {"field": "name", "type": "nominal", "sort": list(names)}
    up = {"field": "y", "type": "quantitative", "axis": _upright(y)}
    colours = {"domain": list(names), "range": COLOURS.get(len(names), MANY)}
    legend = {"title": None} if len(names) > 1 else None
    place = {"x": across, "xOffset": beside}
    return {
        **_plain(bars, HEIGHT),
        "layer": [
            {
                "mark": {"type": "bar", "cornerRadiusEnd": 2},
                "encoding": {
                    **place,
                    "y": up,
                    "color": {"field": "name", "type": "nominal", "scale": colours, "legend": legend},
                    "tooltip": _tooltip(bars),
                },
            },
            {
                "mark": {"type": "rule", "strokeWidth": 1.5, "color": "#8a8f98"},
                "encoding": {**place, "y": {**up, "field": "low"}, "y2": {"field": "high"}},
            },
        ],
    }


def _plain(values: Sequence[dict[str, Any]], height: int) -> dict[str, Any]:
    return {
        "$schema": SCHEMA,
        "width": "container",
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "background": None,
        "data": {"values": list(values)},
        "config": CONFIG,
    }


def _upright(title: str) -> dict[str, Any]:
    """The vertical axis's title above it, as in every chart."""
    upright = {"titleAngle": 0, "titleAlign": "left", "titleAnchor": "end", "titleBaseline": "bottom", "titleX": -34, "titleY": -10}
    return {"title": title, "domain": False, "ticks": False, **upright}


def _tooltip(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    names = dict.fromkeys(name for row in rows for name in row["tip"])
    return [{"field": f"tip.{name}", "title": name, "type": "nominal"} for name in names]
