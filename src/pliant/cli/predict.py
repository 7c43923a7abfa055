"""`pliant predict --fit F --at N=7B,D=140B`: what a new run will measure, with an interval and what it rests on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pliant.cli.change import JsonOption
from pliant.cli.output import note, print_json, print_table
from pliant.cli.questions import AtOption, values_of
from pliant.errors import PliantError
from pliant.numbers import format_count
from pliant.spec import nearest

if TYPE_CHECKING:
    from pliant.laws import Extrapolation, Fit


def predict_command(
    fit: Annotated[Path, typer.Option("--fit", help="A fit saved by `pliant fit --save`", show_default=False)],
    at: AtOption = "",
    table: Annotated[Path | None, typer.Option(help="Runs to predict, a row each: CSV, Parquet or JSON lines", show_default=False)] = None,
    as_fitted: Annotated[bool, typer.Option("--as-fitted", help="The fitted law's own predictions, from its parameters")] = False,
    as_json: JsonOption = False,
) -> None:
    """Predict new runs from a fit, with 90% intervals for what they will measure.

    Beyond the data what counts is not the law but how far such extrapolations are off: by default the table in the fit is
    fitted again towards the target, and the interval learned from refits to its smaller runs. --as-fitted keeps the law.

    Example: pliant predict --fit fit.json --at N=7B,D=140B
    """
    from pliant.laws import Fit
    from pliant.laws.extrapolation.of_fit import predict_as_fitted, predict_runs

    if (table is None) == (not at):
        raise PliantError("say which runs: --at N=7B,D=140B for one, or --table rows.csv for many")
    found = Fit.load(fit)
    columns = _asked(found, at) if table is None else _columns(found, table)
    predicted = predict_as_fitted(found, columns) if as_fitted else predict_runs(found, columns)
    if as_json:
        rows = predicted.rows()
        print_json(rows[0] if table is None else rows)
        return
    _show(found, predicted, columns)


def _asked(fit: Fit, at: str) -> dict[str, Any]:
    columns, named = values_of(at), [*fit.law.column_names, *_named(fit)]
    if unknown := [name for name in columns if name not in named]:
        raise PliantError(f"--at {unknown[0]}: law {fit.law.name} reads no such column; {nearest(unknown[0], named)}")
    return columns


def _columns(fit: Fit, table: Path) -> dict[str, Any]:
    from pliant.laws.tables.table import read_columns

    return read_columns(fit.law, table, texts=_named(fit))


def _named(fit: Fit) -> list[str]:
    """The columns of words: those that parameters are split by, and the clusters'."""
    wanted = {*fit.coordinates.by.values(), *([fit.options.clusters] if fit.options.clusters else [])}
    return sorted(wanted - set(fit.law.column_names))


def _where(fit: Fit, columns: dict[str, Any], beyond: float) -> str:
    """Where one run lies among those that were fitted, in words."""
    if beyond > 1:
        return f"{beyond:.3g} times beyond the largest fitted run"
    for name in fit.law.column_names:
        known, value = fit.columns[name], columns.get(name)
        if isinstance(value, float) and not known.min() <= value <= known.max():
            ends = f"{format_count(float(known.min()))} to {format_count(float(known.max()))}"
            return f"no larger than the fitted runs, but {name} {format_count(value)} is outside their range, {ends}"
    return "inside the range of the fitted runs"


def _show(fit: Fit, predicted: Extrapolation, columns: dict[str, Any]) -> None:
    """The answer first; then what the interval is made of, and in words what to be wary of."""
    rows = predicted.rows()
    unit = f" {fit.law.unit}"
    if len(rows) == 1:
        (row,) = rows
        asked = ", ".join(f"{name} {format_count(float(value))}" for name, value in columns.items() if isinstance(value, float))
        ends = f"90% [{row['low']:.4f}, {row['high']:.4f}]"
        print(f"{fit.law.target} {row['value']:.4f}{unit}, {ends} for a new run{' at ' + asked if asked else ''}")
        parts = ", ".join(f"{name} ±{part:.4f}" for name, part in row["parts"].items())
        print(f"of this half-width: {parts}")
        print(f"{_where(fit, columns, row['beyond'])}; expect to be off by {predicted.typical[0]:.2g}{unit}")
    else:
        cells = [
            [f"{row[name]:.4f}" for name in ("value", "low", "high")]
            + [f"{part:.4f}" for part in row["parts"].values()]
            + [f"{row['beyond']:.3g}x"]
            for row in rows
        ]
        print_table([fit.law.target, "5%", "95%", "noise ±", "parameters ±", "form ±", "beyond"], cells)
    note(f"pliant: by {predicted.how}")
    for remark in (*predicted.remarks, *fit.remarks):
        note(f"pliant: {remark}")
