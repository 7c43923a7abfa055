"""A fit as one HTML page that loads nothing: predicted against measured, residuals along the scale, parameters.

When to use it: to look at residuals before believing a fit: a curve left in them is a wrong form, a fan is noise that
depends on size (resample with `wild`), a lone point is a run that went wrong.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pliant.files import write_atomic
from pliant.laws.fitting.audit import scale_of, splits
from pliant.webpage import render, still

if TYPE_CHECKING:
    from pliant.laws.fitting.result import Fit

SIZE = 330
COLOURS = ["#0072B2", "#D55E00"]
MOST_POINTS, MOST_PARAMETERS = 2000, 40
"""What a page shows; more neither draws in a browser nor tells a reader more."""


def plot(fit: Fit, path: str | Path) -> Path:
    """Write the page. Raises PliantError when the place cannot be written."""
    target, chart = Path(path), specification(fit)
    title = f"{fit.law.name}, {len(fit.target)} runs"
    description = f"Predicted against measured {fit.law.target}, residuals along the scale, and intervals of the parameters."
    page = render(
        Path(__file__).parent / "plot.html", [chart], title=title, remarks=_remarks(fit), description=description, drawing=still(chart)
    )
    write_atomic(target, page)
    return target


def specification(fit: Fit) -> dict[str, Any]:
    """The charts as one Vega-Lite specification."""
    panels = [_predicted(fit), _residuals(fit)]
    if len(fit.bootstrap_samples):
        panels.append(_parameters(fit))
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "background": None,
        "data": {"values": _rows(fit)},
        "hconcat": panels,
    }


def _remarks(fit: Fit) -> list[str]:
    audit, shown, total = fit.audit, len(_shown_rows(fit)), len(fit.target)
    beyond = f", {audit.beyond:.3g} times beyond the rest" if audit.beyond else ""
    remarks = [
        f"audit on the {audit.held_out} largest runs{beyond}: {audit.verdict} ({audit.reason})",
        *fit.unidentifiable.sentences,
        *fit.remarks,
    ]
    if shown < total:
        remarks.append(f"{shown} of the {total} runs are drawn, evenly picked along the scale")
    if len(fit.bootstrap_samples) and len(fit.theta) > MOST_PARAMETERS:
        remarks.append(f"the first {MOST_PARAMETERS} of {len(fit.theta)} parameters are drawn")
    return remarks


def _shown_rows(fit: Fit) -> list[int]:
    """All of them, or `MOST_POINTS` of them evenly along the scale."""
    order = np.argsort(scale_of(fit.law, fit.columns), kind="stable")
    picked = np.linspace(0, len(order) - 1, min(len(order), MOST_POINTS)).round().astype(int)
    return sorted(order[picked].tolist())


def _rows(fit: Fit) -> list[dict[str, Any]]:
    scale = scale_of(fit.law, fit.columns)
    held = splits(scale)[-1].held_out
    names = ["fitted in the audit", "held out in the audit"]
    columns = {
        "predicted": fit.predict(),
        "measured": fit.target,
        "residual": fit.residuals(),
        "scale": scale,
        **{f"column {name}": values for name, values in fit.columns.items()},
    }
    return [{name: float(values[row]) for name, values in columns.items()} | {"part": names[int(held[row])]} for row in _shown_rows(fit)]


def _points(fit: Fit, x: dict[str, Any], y: dict[str, Any]) -> dict[str, Any]:
    shown = ["predicted", "measured", *(f"column {name}" for name in fit.columns)]
    colour = {"field": "part", "type": "nominal", "title": None, "scale": {"range": COLOURS}, "legend": {"orient": "bottom"}}
    tooltip = [{"field": name, "title": name.removeprefix("column "), "type": "quantitative", "format": ".4g"} for name in shown]
    return {
        "mark": {"type": "point", "filled": True, "opacity": 0.7},
        "encoding": {"x": x, "y": y, "color": colour, "tooltip": tooltip},
    }


def _predicted(fit: Fit) -> dict[str, Any]:
    scale = {"type": "log" if fit.residual == "log" else "linear", "zero": False, "nice": False}
    ends = [float(min(fit.target.min(), fit.predict().min())), float(max(fit.target.max(), fit.predict().max()))]
    diagonal = {
        "data": {"values": [{"at": end} for end in ends]},
        "mark": {"type": "line", "color": "#888", "strokeDash": [4, 3]},
        "encoding": {
            "x": {"field": "at", "type": "quantitative", "scale": scale},
            "y": {"field": "at", "type": "quantitative", "scale": scale},
        },
    }
    x = {"field": "predicted", "type": "quantitative", "scale": scale, "title": f"predicted {fit.law.target}, {fit.law.unit}"}
    y = {"field": "measured", "type": "quantitative", "scale": scale, "title": "measured"}
    return {"width": SIZE, "height": SIZE, "layer": [diagonal, _points(fit, x, y)]}


def _residuals(fit: Fit) -> dict[str, Any]:
    name = " x ".join(fit.law.scale) if fit.law.scale else f"1 / {fit.law.column_names[0]}"
    unit = "log(measured / predicted)" if fit.residual == "log" else "measured - predicted"
    x = {
        "field": "scale",
        "type": "quantitative",
        "scale": {"type": "log", "nice": False},
        "title": f"scale: {name}",
        "axis": {"format": ".0e"},
    }
    y = {"field": "residual", "type": "quantitative", "title": unit}
    zero = {"data": {"values": [{}]}, "mark": {"type": "rule", "color": "#888"}, "encoding": {"y": {"datum": 0}}}
    return {"width": SIZE, "height": SIZE, "layer": [zero, _points(fit, x, y)]}


def _parameters(fit: Fit) -> dict[str, Any]:
    """Each free parameter's bootstrap samples over their own range, its 90% interval drawn through."""
    rows: list[dict[str, Any]] = []
    for index, name in enumerate(fit.coordinates.names[:MOST_PARAMETERS]):
        values = fit.bootstrap_samples[:, index]
        low, high = np.quantile(values, [0.05, 0.95])
        width = max(float(high - low), 1e-300)
        label = "undetermined" if name in fit.unidentifiable.parameters else f"{fit.parameters[name]:.4g}"
        centre = fit.theta[index]
        rows.append({"parameter": f"{name} = {label}", "low": (low - centre) / width, "high": (high - centre) / width})
    y = {"field": "parameter", "type": "nominal", "title": None, "sort": None}
    x = {"field": "low", "type": "quantitative", "title": "90% interval around the value, in its own width"}
    bar = {"mark": {"type": "bar", "height": 8, "color": COLOURS[0], "opacity": 0.6}, "encoding": {"x": x, "x2": {"field": "high"}, "y": y}}
    zero = {"mark": {"type": "rule", "color": "#888"}, "encoding": {"x": {"datum": 0}}}
    return {"width": SIZE // 2, "height": max(60, 24 * len(rows)), "data": {"values": rows}, "layer": [zero, bar]}
