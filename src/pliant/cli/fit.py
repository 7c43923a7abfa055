"""`pliant fit LAW TABLE`: parameters with intervals, and what a fit to the smaller runs says about the largest."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from pliant.cli.assignments import both, ends, finite, items
from pliant.cli.change import JsonOption
from pliant.cli.output import note, print_json, print_table
from pliant.errors import PliantError

if TYPE_CHECKING:
    from pliant.laws import Fit, Law, LawComparison

NEXT_LAW = re.compile(r",(?![^()]*\))")
"""A comma between laws; those between the columns of one are within its brackets."""


class FitCommand(TyperCommand):
    """Its help ends with the laws, a line each, looked up only when it is asked for."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The options, then the laws."""
        self.epilog = "\n\n".join(["Laws:", *(f"{name}: {line}" for name, line in _first_lines().items())])
        super().format_help(ctx, formatter)


def fit_command(
    law: Annotated[str | None, typer.Argument(help="A law's name; see --list; left out with --formula", show_default=False)] = None,
    table: Annotated[Path | None, typer.Argument(help="CSV, Parquet, JSON lines, or a ledger", show_default=False)] = None,
    formula: Annotated[
        str | None, typer.Option(help="Your own law: 'E + A/N**a + B/D**b', or 'accuracy = ...'; names not in the table are fitted")
    ] = None,
    columns: Annotated[list[str] | None, typer.Option(help="Where the law's columns are: N=params,D=tokens,loss=loss_c4")] = None,
    where: Annotated[str | None, typer.Option(help="SQL condition that chooses rows", show_default=False)] = None,
    loss: Annotated[str, typer.Option(help="huber:CORNER, huber:CORNER:PENALTY, squares, or quantile:Q")] = "huber:1e-3",
    residual: Annotated[str | None, typer.Option(help="log or difference; the law's own by default", show_default=False)] = None,
    starts: Annotated[str, typer.Option(help="grid, or how many random restarts")] = "grid",
    start: Annotated[list[str] | None, typer.Option(help="Where a parameter starts: a=0.3")] = None,
    bootstrap: Annotated[str, typer.Option(help="Bootstrap samples: N, or KIND:N with residual, wild, run, cluster; 0 for none")] = "400",
    fix: Annotated[list[str] | None, typer.Option(help="Hold a parameter: alpha=0.34; alpha=free frees it")] = None,
    tie: Annotated[list[str] | None, typer.Option(help="Make a parameter equal another: beta=alpha; beta=free unties it")] = None,
    bounds: Annotated[list[str] | None, typer.Option(help="Keep a parameter within: alpha=0:1, or alpha=0:")] = None,
    prior: Annotated[list[str] | None, typer.Option(help="Centre and standard deviation: alpha=0.34:0.05")] = None,
    by: Annotated[list[str] | None, typer.Option(help="One value of a parameter per value of a column: b=pool")] = None,
    clusters: Annotated[str | None, typer.Option(help="Column that names each run's cluster", show_default=False)] = None,
    unit: Annotated[str | None, typer.Option(help="bits converts the target to nats", show_default=False)] = None,
    compare: Annotated[str | None, typer.Option(help="Rank forms by held-out error: chinchilla,overtrained", show_default=False)] = None,
    save: Annotated[Path | None, typer.Option(help="Write the fit as JSON, for `pliant decide`", show_default=False)] = None,
    plot: Annotated[Path | None, typer.Option(help="Write charts as one HTML file", show_default=False)] = None,
    seed: Annotated[int, typer.Option(help="Seed of random restarts and bootstrap samples")] = 0,
    list_laws: Annotated[bool, typer.Option("--list", help="The laws there are, with their columns and parameters")] = False,
    as_json: JsonOption = False,
) -> None:
    """Fit a law to a table of runs.

    Example: pliant fit chinchilla runs.csv --columns N=params,D=tokens,loss=loss_c4_val --save fit.json

    pliant fit runs.csv --formula "E + A/N**a + B/D**b"
    """
    if list_laws:
        _list(as_json)
        return
    if formula is not None and table is None and law is not None:
        law, table = None, Path(law)
    if (law is None) == (formula is None) or table is None:
        raise PliantError("give a law (or --formula) and a table: pliant fit chinchilla runs.csv; `pliant fit --list` names the laws")
    from pliant import laws
    from pliant.laws.forms.formula import started

    found = items("columns", columns)
    law_there = started(_law(law, formula, table, found), {name: finite("start", text) for name, text in items("start", start).items()})
    options: dict[str, Any] = {
        "where": where,
        "loss": loss,
        "residual": residual,
        "restarts": _restarts(starts),
        "bootstrap": bootstrap,
        "fix": {name: None if text == "free" else finite("fix", text) for name, text in items("fix", fix).items()},
        "tie": {name: None if text == "free" else text for name, text in items("tie", tie).items()},
        "bounds": {name: ends("bounds", text) for name, text in items("bounds", bounds).items()},
        "priors": {name: both("prior", text) for name, text in items("prior", prior).items()},
        "by": items("by", by),
        "clusters": clusters,
        "unit": unit,
        "seed": seed,
    }
    rows = _table(table, law_there.target)
    ranking = None
    if compare is not None:
        others = [laws.law_named(name.strip()) for name in NEXT_LAW.split(compare)]
        ranking = laws.compare([law_there, *(other for other in others if other.name != law_there.name)], rows, found, **options)
    own = {name: text for name, text in found.items() if compare is None or name in (*law_there.column_names, law_there.target)}
    fitted = laws.fit(law_there, rows, own, **options)
    if save is not None:
        fitted.save(save)
    if plot is not None:
        from pliant.laws.tables.plot import plot as draw

        draw(fitted, plot)
    if as_json:
        print_json(fitted.summary() | ({"comparison": ranking.to_json()} if ranking else {}))
    else:
        _show(fitted)
        if ranking:
            _show_ranking(ranking)


def _law(name: str | None, formula: str | None, table: Path, columns: Mapping[str, str]) -> Law:
    """The law asked for; patterns among the columns of a family, `mixing(train_*)`, stand for the table's columns that match."""
    from pliant import laws
    from pliant.laws.tables.source import opened

    if formula is None and not (name and "*" in name and name.partition("(")[0] in laws.FAMILIES):
        return laws.law_named(name or "")
    with opened(_table(table, "loss")) as source:
        there = source.names()
    if formula is not None:
        return laws.formula(formula, [*there, *columns])
    family, _, rest = (name or "").partition("(")
    wanted = [text.strip() for text in rest.rstrip(") ").split(",")]
    matched = [[other for other in there if fnmatchcase(other, text)] if "*" in text else [text] for text in wanted]
    return laws.law_named(f"{family}({', '.join(dict.fromkeys(other for group in matched for other in group))})")


def _table(path: Path, target: str) -> Any:
    """The table's path, or of a ledger its records, or its rises for a law of rises."""
    if not (path / "ledger.json").exists():
        return path
    from pliant.ledger.ledger import Ledger

    return Ledger(path).sql(f"select * from {'rises' if target == 'rise' else 'records'}")


def _restarts(text: str) -> str | int:
    return int(text) if text.isdecimal() and len(text) < 10 else text


def _show(fit: Fit) -> None:
    """Parameters with intervals, then a line each for the audit, the restarts and whatever else there is to know."""
    summary = fit.summary()
    rows: list[list[str]] = []
    for name, shown in summary["parameters"].items():
        note_text = "fixed" if shown.get("fixed") else f"= {shown['tied_to']}" if "tied_to" in shown else ""
        rows.append([name, *(_figure(shown[end]) for end in ("value", "low", "high")), note_text])
    print(f"{fit.law.name}: {summary['n']} runs, objective {summary['objective']:.6g}")
    print_table(["parameter", "value", "5%", "95%", ""], rows)
    audit = fit.audit
    beyond = f", up to {audit.beyond:.3g} times larger than the rest" if audit.beyond else ""
    print(f"audit: {audit.verdict}; {audit.held_out} largest runs held out{beyond}: {audit.reason}")
    if (near := audit.expected_error(2)) is not None:
        ahead = (
            f"{near:.2g} at twice the largest run, {audit.expected_error(10):.2g} at 10 times, {audit.expected_error(100):.2g} at 100 times"
        )
        print(f"error to expect of this law: {ahead} {'(relative)' if fit.residual == 'log' else fit.law.unit}; see `pliant predict`")
    ends = fit.restarts
    print(f"restarts: {ends.reached_best} of {ends.tried} reached the best objective, {ends.let_go} were let go on the way")
    print(f"noise of one run: {fit.noise:.3g}" + (" (relative)" if fit.residual == "log" else f" {fit.law.unit}"))
    for sentence in fit.unidentifiable.sentences:
        print(f"unidentifiable: {sentence}")
    if fit.unidentifiable.parameters:
        names = ", ".join(fit.unidentifiable.parameters)
        print(
            f"  no run here would notice if {names} moved together, so quote predictions instead of them; {fit.law.identifiability}".rstrip(
                "; "
            )
        )
    for remark in fit.remarks:
        note(f"pliant: {remark}")


def _show_ranking(ranking: LawComparison) -> None:
    from pliant.laws.fitting.comparison import percentage

    rows = [
        [
            entry.law,
            str(entry.parameters),
            percentage(entry.error),
            percentage(entry.within),
            "best" if index == 0 else f"{percentage(entry.worse_by)} [{percentage(entry.low)}, {percentage(entry.high)}]",
            entry.audit,
        ]
        for index, entry in enumerate(ranking.entries)
    ]
    print(f"\nforms by their error on {ranking.predicted} runs larger than those they were fitted to")
    print_table(["law", "parameters", "error", "error within", "worse by, 90%", "audit"], rows)


def _figure(value: float | None) -> str:
    return "undetermined" if value is None else f"{value:.5g}"


def _first_lines() -> dict[str, str]:
    """What each law and family is, as its file begins."""
    from pliant.laws import FAMILIES, LAWS

    makers: list[tuple[str, Any]] = [*((name, law.function) for name, law in LAWS.items()), *FAMILIES.items()]
    cards = {name: (getattr(sys.modules.get(maker.__module__), "__doc__", None) or "").strip() for name, maker in makers}
    return {name: card.partition("\n\n")[0].replace("\n", " ") for name, card in cards.items()}


def _list(as_json: bool) -> None:
    from pliant.laws import FAMILIES, LAWS

    if as_json:
        print_json([_described(law) for law in LAWS.values()])
        return
    rows = [[law.name, law.target, ", ".join(law.column_names), ", ".join(law.parameter_names), law.source] for law in LAWS.values()]
    print_table(["law", "predicts", "columns", "parameters", "source"], rows)
    print(f"and families that take your columns: {', '.join(f'{name}(...)' for name in FAMILIES)}; `pliant fit --help` says what each is")


def _described(law: Any) -> dict[str, Any]:
    return {
        "law": law.name,
        "target": law.target,
        "unit": law.unit,
        "columns": [{"name": c.name, "unit": c.unit, "description": c.description, "default": c.default} for c in law.columns],
        "parameters": [{"name": p.name, "description": p.description} for p in law.parameters],
        "fixed": dict(law.fix),
        "tied": dict(law.tie),
        "source": law.source,
        "valid": law.valid,
        "identifiability": law.identifiability,
        "printed": {where: dict(values) for where, values in law.printed.items()},
    }
