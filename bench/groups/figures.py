"""The figures of bench/between.py as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Rows = Mapping[str, Sequence[Mapping[str, Any]]]


def report(rows: Rows, bands: Mapping[str, tuple[float, float]], said: Sequence[tuple[float, float]]) -> str:
    """Every origin counts the same in what is called a mean of origins."""
    pairs = {origin: [row for row in found if row["groups"] == 2] for origin, found in rows.items()}
    sets = {origin: kept for origin, found in rows.items() if (kept := [row for row in found if row["groups"] > 2])}
    tables = sum(len({row["table"] for row in found}) for found in rows.values())
    lines = [
        "# Which group is better at scale?\n",
        "Written by `python bench/between.py`; do not edit. `pliant decide between` stops at a scale of a published table, sees nothing",
        f"beyond, and is asked about a larger one that was measured: {tables} tables of {len(rows)} origins,",
        f"{sum(map(len, pairs.values()))} pairs of groups and {sum(map(len, sets.values()))} larger sets. Each origin is judged with",
        "constants learned on the others. Cases of one origin are not independent: think of as many observations as there are",
        "origins.",
        "Groups that are sizes of model (Pythia, part of OLMo and Gemstones) cross at scale by construction, larger ones being better",
        "later; they are kept in, as the hardest case.\n",
        "## Choices\n",
        "Right: of the decision, of ranking at the largest common scale, and of each group's own power law of compute, extrapolated.",
        "Regret: loss given away, %, by the decision, by ranking, and as expected by the decision.\n",
        "| origin | cases | decision | ranking | laws | a trend replaced the rank | regret | of ranking | expected |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for title, group in (("pairs", pairs), ("best of 4 to 32", sets)):
        lines += [f"| **{title}** | | | | | | | | |", *(_choices(origin, found) for origin, found in sorted(group.items()))]
        lines.append(_choices("mean of origins", *group.values()))
    lines += ["\n## Probabilities by distance\n", "Said, and how many were right; beyond the largest common compute.\n"]
    lines += ["| origin | " + " | ".join(bands) + " |", "|---" * (len(bands) + 1) + "|"]
    for title, group in (("pairs", pairs), ("best of 4 to 32", sets)):
        lines.append(f"| **{title}** |" + " |" * len(bands))
        for origin, found in [*sorted(group.items()), ("all", [row for part in group.values() for row in part])]:
            lines.append(
                f"| {origin} | "
                + " | ".join(_said([r for r in found if low < r["distance"] <= high]) for low, high in bands.values())
                + " |"
            )
    lines += ["\n## Probabilities by what was said\n"]
    heads = [f"{low:.2f} to {min(high, 1):.2f}" for low, high in said]
    lines += ["| said | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    everything = {"pairs": pairs, "pairs beyond 20x": _far(pairs), "best of 4 to 32": sets, "best of 4 to 32 beyond 20x": _far(sets)}
    for title, group in everything.items():
        found = [row for part in group.values() for row in part]
        lines.append(f"| {title} | " + " | ".join(_said([r for r in found if low <= r["said"] < high]) for low, high in said) + " |")
        weights = np.concatenate([np.full(len(part), 1 / max(len(part), 1)) for part in group.values()])
        cells = [_weighted(found, weights, low, high) for low, high in said]
        lines.append(f"| {title}, origins equal | " + " | ".join(cells) + " |")
    known = [row for part in pairs.values() for row in part]
    lines.append("\nA bootstrap of the gaps, as if they did not move with scale, on the same pairs:\n")
    lines += ["| said | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    naive = [row | {"said": row["naive"], "right": row["rank"]} for row in known]
    lines.append("| pairs | " + " | ".join(_said([r for r in naive if low <= r["said"] < high]) for low, high in said) + " |")
    return "\n".join(lines) + "\n"


def _choices(name: str, *parts: Sequence[Mapping[str, Any]]) -> str:
    """A row; of several origins their mean."""

    def mean(key: str, scale: float = 1.0) -> float:
        return scale * float(np.mean([np.mean([row[key] for row in part]) for part in parts]))

    replaced = sum(row["earned"] for part in parts for row in part)
    shares = " | ".join(f"{mean(key):.3f}" for key in ("right", "rank", "law"))
    regrets = " | ".join(f"{mean(key, 100):.3f}" for key in ("regret", "rank_regret", "expected"))
    return f"| {name} | {sum(map(len, parts))} | {shares} | {replaced} | {regrets} |"


def _said(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    return f"{np.mean([row['said'] for row in rows]):.2f}, {np.mean([row['right'] for row in rows]):.2f} ({len(rows)})"


def _weighted(rows: Sequence[Mapping[str, Any]], weights: np.ndarray, low: float, high: float) -> str:
    chosen = [place for place, row in enumerate(rows) if low <= row["said"] < high]
    if not chosen:
        return ""
    means = (np.average([rows[place][key] for place in chosen], weights=weights[chosen]) for key in ("said", "right"))
    return "{:.2f}, {:.2f}".format(*means)


def _far(group: Rows) -> Rows:
    return {origin: [row for row in found if row["distance"] > 20] for origin, found in group.items()}
