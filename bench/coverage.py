"""How often 90% intervals hold the truth: tables simulated from every law, fitted, and compared with what made them.

    python bench/coverage.py [TABLES [LAW ...]]

Each law has a grid of runs, plausible constants and a noise (tests/laws/designs.py). A parameter counts when the grid can
determine it; so does the prediction for a run ten times larger than the largest (for laws of a loss: at nine tenths of the
lowest). Intervals are percentiles of 200 resamples of the default kind. With 200 tables the standard error of a coverage is
2%. Figures are kept in bench/coverage.json and written to docs/laws-coverage.md; `make bench` checks a few tables a law.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pliant.laws import LAWS, Law, fit
from pliant.laws.tables.simulate import simulate

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "laws"))
from designs import DESIGNS, Design  # noqa: E402
from extrapolation_report import section  # noqa: E402

STORE, REPORT = ROOT / "bench" / "coverage.json", ROOT / "docs" / "laws-coverage.md"
FEW, DRAWS, SEED = 8, 200, 50_000


def larger(law: Law, design: Design) -> dict[str, float]:
    """A run beyond the grid: ten times the largest, or a loss nine tenths of the lowest."""
    last = int(np.argmax(np.prod([design.columns[name] for name in law.scale if name in design.columns] or [-design.columns["L"]], axis=0)))
    columns = {name: float(values[last]) for name, values in design.columns.items()}
    grown = [name for name in law.scale if name in columns]
    for name in grown:
        columns[name] *= 10 ** (1 / len(grown))
    return columns if grown else columns | {"L": 0.9 * columns["L"]}


def measure(name: str, tables: int) -> dict[str, Any]:
    """Coverage of each parameter and of the prediction, and how many tables left something undetermined."""
    law, design = LAWS[name], DESIGNS[name]
    fix: dict[str, float | None] = {n: design.parameters[n] for n in design.fixed if n not in law.tie}
    fix |= {n: None for n in design.free if n in law.fix}
    beyond = larger(law, design)
    truth = float(np.ravel(law(beyond, design.parameters))[0])
    inside: dict[str, list[bool]] = {}
    undetermined, start = 0, time.process_time()
    for table in range(tables):
        runs = simulate(law, design.columns, design.parameters, design.noise, SEED + table)
        found = fit(law, runs, fix=fix, bootstrap=DRAWS)
        undetermined += bool(found.unidentifiable.parameters)
        for parameter in found.coordinates.names:
            if parameter not in found.unidentifiable.parameters:
                low, high = found.interval(parameter)
                inside.setdefault(parameter, []).append(bool(low <= design.parameters[parameter] <= high))
        low, high = found.interval(beyond)
        inside.setdefault("a larger run", []).append(bool(low[0] <= truth <= high[0]))
    covered = {parameter: float(np.mean(hits)) for parameter, hits in inside.items()}
    rows = len(next(iter(design.columns.values())))
    return {
        "tables": tables,
        "runs": rows,
        "noise": design.noise,
        "covered": covered,
        "undetermined": undetermined,
        "seconds_a_fit": round((time.process_time() - start) / tables, 2),
    }


def report(results: dict[str, dict[str, Any]]) -> str:
    """The figures as Markdown."""
    lines = [
        "# Do 90% intervals cover?\n",
        "Written by `python bench/coverage.py 200`; do not edit. Tables simulated from each law, fitted with the default settings;",
        "the share of tables whose 90% interval holds the true value. The standard error of one figure is 2%.\n",
        "| law | runs | noise | tables | mean over parameters | lowest | highest | a larger run | undetermined | s a fit |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, result in sorted(results.items()):
        shares = {parameter: share for parameter, share in result["covered"].items() if parameter != "a larger run"}
        low, high = (min(shares, key=lambda p: shares[p]), max(shares, key=lambda p: shares[p])) if shares else ("", "")
        ends = [f"{shares[p]:.1%} ({p})" if p else "" for p in (low, high)]
        mean = f"{np.mean(list(shares.values())):.1%}" if shares else ""
        figures = [
            str(result["runs"]),
            f"{result['noise']:g}",
            str(result["tables"]),
            mean,
            *ends,
            f"{result['covered']['a larger run']:.1%}",
        ]
        lines.append(f"| {name} | {' | '.join(figures)} | {result['undetermined']} | {result['seconds_a_fit']} |")
    lines.append("\nUndetermined: tables in which some parameter had no interval because the runs do not determine it; it is not counted.")
    extrapolation = ROOT / "bench" / "extrapolation.json"
    return "\n".join(lines) + "\n" + (section(json.loads(extrapolation.read_text())) if extrapolation.exists() else "")


def main() -> None:
    torch.set_num_threads(1)
    tables = int(sys.argv[1]) if len(sys.argv) > 1 else FEW
    results: dict[str, dict[str, Any]] = {}
    for name in sys.argv[2:] or sorted(LAWS):
        results[name] = measure(name, tables)
        print(name, json.dumps(results[name]), flush=True)
        if tables > FEW:
            kept = json.loads(STORE.read_text()) if STORE.exists() else {}
            STORE.write_text(json.dumps(kept | {name: results[name]}, indent=1, sort_keys=True) + "\n")
            REPORT.write_text(report(kept | {name: results[name]}), encoding="utf-8")
    shares = [share for result in results.values() for share in result["covered"].values()]
    pooled = float(np.mean(shares))
    print(
        json.dumps(
            {
                "name": "coverage",
                "claim": f"90% intervals hold the truth: {tables} tables of each of {len(results)} laws, parameters and predictions",
                "ratio": pooled,
                "target": 0.85,
                "equal_results": bool(0.85 <= pooled <= 0.97),
                "per_law": {name: round(float(np.mean(list(result["covered"].values()))), 3) for name, result in results.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
