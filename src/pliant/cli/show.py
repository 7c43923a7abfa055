"""`pliant show`: what a ledger holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer

from pliant.axes import axis_named
from pliant.changes import recorded
from pliant.cli.change import JsonOption
from pliant.cli.output import note, print_json, print_table
from pliant.errors import PliantError

LONGEST_TABLE = 300
SUMMARY = """
select study, checkpoint, axis, position, phase, change_json, measure, metric, unit, avg(value) as value, any_value(stderr) as stderr,
    null as rise
from records where status = 'ok' and change_kind = 'none' group by all
union all by name select study, checkpoint, axis, position, phase, change_json, measure, metric, unit, value, rise, stderr from differences
order by study, position, checkpoint, measure, metric, rise is not null"""

FAILURES = """
select distinct checkpoint, change_json, measure, coalesce(error, 'for no known reason') as error
from records where status = 'failed' order by all"""


def show_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A ledger's folder")],
    sql: Annotated[
        str | None, typer.Option(help="A SELECT over the views records, samples and rises, instead of the summary", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show a ledger: every measured value, and what each change did.

    Examples: pliant show runs/demo
    pliant show runs/demo --sql "select tokens, rise, stderr from rises where change_kind = 'quantize'"
    """
    from pliant.study import Ledger

    ledger = Ledger(folder)
    if sql is not None:
        table = ledger.sql(sql)
        rows = [{name: _parsed(name, value) for name, value in row.items()} for row in _rows(table)]
        if as_json:
            print_json(rows)
        else:
            print_table(table.column_names, [[_cell(value) for value in row.values()] for row in rows])
    elif as_json:
        print_json(ledger.records())
    else:
        _summary(ledger)


def _rows(table: Any) -> list[dict[str, Any]]:
    try:
        return table.to_pylist()
    except (ValueError, OverflowError) as error:  # SQL's calendar is longer than Python's
        raise PliantError(f"the answer holds a date or time that cannot be shown ({error}); write cast(... as varchar)") from None


def _summary(ledger: Any) -> None:
    from pliant.decide.curves.series import in_natural_order, reading_name

    counts = ledger.sql(
        "select study, count(distinct checkpoint) as checkpoints, count(*) as records, count(*) filter (status = 'failed') as failed "
        "from records group by study order by study"
    ).to_pylist()
    print_table(["study", "checkpoints", "records", "failed"], [[_cell(value) for value in row.values()] for row in counts])
    rows = in_natural_order(ledger.sql(SUMMARY).to_pylist(), ["study", "position", "checkpoint", "measure", "metric"])
    metrics: dict[str, set[str]] = {}
    for row in rows:
        metrics.setdefault(row["measure"], set()).add(row["metric"])
    print()
    print_table(
        ["checkpoint", "at", "change", "measure", "value", "± s.e.", "rise", "± s.e.", "unit"],
        [_summary_row(row, reading_name(row["measure"], row["metric"], metrics[row["measure"]])) for row in rows[:LONGEST_TABLE]],
    )
    if len(rows) > LONGEST_TABLE:
        note(f"{len(rows) - LONGEST_TABLE} more rows; use --json or --sql")
    for row in ledger.sql(f"{FAILURES} limit 20").to_pylist():
        note("failed: " + ", ".join([*(row | {"change_json": recorded(row["change_json"]).name()}).values()]))


def _summary_row(row: Mapping[str, Any], reading: str) -> list[str]:
    """The standard error is the value's of an unchanged checkpoint, and the rise's of a changed one."""
    place = axis_named(row["axis"], row["phase"]).at(row["position"]) if row["position"] is not None else "?"
    rise = f"{row['rise']:+z.4f}" if row["rise"] is not None else ""
    error = f"{row['stderr']:.4f}" if row["stderr"] is not None else ""
    change = recorded(row["change_json"])
    errors = (error, "") if change.unchanged else ("", error)
    return [row["checkpoint"], place, change.name(), reading, f"{row['value']:z.4f}", errors[0], rise, errors[1], row["unit"]]


def _parsed(name: str, value: Any) -> Any:
    """As JSON has it. The column `change` is an object, which Arrow hands over as text; SQL's sums are decimals."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if name == "change" and isinstance(value, str) and value.startswith("{"):
        return json.loads(value)
    return value if isinstance(value, (str, int, float, list, dict, type(None))) else str(value)


def _cell(value: Any) -> str:
    """As a table shows it: numbers short, null as nothing."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return json.dumps(value) if isinstance(value, (dict, list)) else str(value)
