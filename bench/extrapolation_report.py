"""The figures of `extrapolation.py` as Markdown, for docs/laws-coverage.md."""

from __future__ import annotations

from typing import Any

BANDS = ("<2x", "2-5x", "5-20x", ">20x")
METHODS = {
    "ours": "`pliant predict`",
    "classic": "classic fit, its bootstrap and noise",
    "curve_fit": "curve_fit, its covariance and noise",
}


def section(results: dict[str, Any]) -> str:
    """Coverage of 90% intervals by distance, by origin, beside others; then simulated tables."""
    origins = list(results["ours"])
    lines = [
        "\n# Do intervals for larger runs cover?\n",
        "Written by `python bench/extrapolation.py`; do not edit. Real tables whose larger runs exist: fitted to the runs up to the",
        "0.4, 0.55, 0.7 and 0.85 quantile of compute, every larger run predicted with a 90% interval for one new run. Each origin of",
        "tables is measured with constants that were learned on the other origins alone (form, weights and priors were chosen once, on",
        "most of them, so errors are a little optimistic). Distance is compute over the largest fitted. Averages give every origin the",
        "same weight. Widths and errors are medians in percent of the loss; oracle is the width that covers 90% of an origin's band.\n",
        "| method | distance | covered, mean of origins | lowest origin | width, % | median error, % | width / oracle |",
        "|---|---|---|---|---|---|---|",
    ]
    for method, title in METHODS.items():
        for band, name in enumerate(BANDS):
            told = [results[method][origin][band] for origin in origins if results[method][origin][band]]
            mean = {key: sum(part[key] for part in told) / len(told) for key in ("covered", "width", "error", "oracle")}
            lowest = min((part["covered"], origin) for origin in origins if (part := results[method][origin][band]))
            lines.append(
                f"| {title} | {name} | {mean['covered']:.0%} | {lowest[0]:.0%} ({lowest[1]}) "
                f"| {_figure(mean['width'])} | {_figure(mean['error'])} | {_figure(mean['oracle'])} |"
            )
    lines += ["\nBy origin, `pliant predict`: covered, width, median error, runs.\n", _head("origin")]
    lines += [f"| {origin} | {' | '.join(map(_cell, results['ours'][origin]))} |" for origin in origins]
    lines += [
        "\nThe error that a prediction says to expect against what it was (medians, %, all tables):\n",
        "| stated | actual | runs |",
        "|---|---|---|",
        *(f"| {part['stated']:.2f} | {part['actual']:.2f} | {part['n']} |" for part in results["stated"]),
        "\nSimulated tables of 40 runs, 20 of each kind. A law that is exactly true gets wider intervals than it needs.\n",
        _head("kind"),
    ]
    lines += [f"| {kind} | {' | '.join(map(_cell, told))} |" for kind, told in results["simulated"].items()]
    return "\n".join(lines) + "\n"


def _head(first: str) -> str:
    return f"| {first} | {' | '.join(BANDS)} |\n|---|---|---|---|---|"


def _cell(told: dict[str, float] | None) -> str:
    return f"{told['covered']:.0%}, {told['width']:.1f}, {told['error']:.2f}, {told['n']}" if told else ""


def _figure(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else "over 1000"
