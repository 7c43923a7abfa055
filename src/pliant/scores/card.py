"""The card of selected data: what was kept of what, by source, by length and by tokens, for people and as JSON.

What goes wrong: a band changes the mixture. A source of which much less is kept than of the others is the first thing to look at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pliant.statistics import Array
from pliant.webpage import still

Counts = dict[str, Any]
BARS = 48
PICTURE = "scores.svg"


def counted(kept: NDArray[np.bool_], tokens: NDArray[np.int64], groups: NDArray[np.int64], names: Sequence[str]) -> Counts:
    """`kept`, `of`, `tokens_kept` and `tokens_of` together and `by_source`."""
    parts = {
        "kept": np.bincount(groups[kept], minlength=len(names)),
        "of": np.bincount(groups, minlength=len(names)),
        "tokens_kept": np.bincount(groups[kept], tokens[kept], len(names)).astype(np.int64),
        "tokens_of": np.bincount(groups, tokens, len(names)).astype(np.int64),
    }
    by_source = {
        name: {part: int(counts[place]) for part, counts in parts.items()} for place, name in enumerate(names) if parts["of"][place]
    }
    return {**{part: int(counts.sum()) for part, counts in parts.items()}, "by_source": by_source}


def by_size(kept: NDArray[np.bool_], tokens: NDArray[np.int64], sizes: NDArray[Any]) -> dict[str, Counts]:
    """The same by classes of size, each four times as large as the one before."""
    classes = np.floor(np.log2(np.maximum(sizes, 1)) / 2).astype(np.int64)
    names = [f"{4**place:,} to {4 ** (place + 1) - 1:,}" for place in range(int(classes.max()) + 1)]
    return counted(kept, tokens, classes, names)["by_source"]


def card(
    folder: Path, form: Path, told: Counts, values: Array, kept: NDArray[np.bool_], tokens: NDArray[np.int64], lengths: NDArray[Any]
) -> None:
    """Writes README.md, the picture, and the JSON to `form`."""
    tables = {"by_length": by_size(kept, tokens, lengths), "by_tokens": by_size(kept, tokens, tokens)}
    form.write_text(json.dumps(told | tables, indent=1) + "\n", encoding="utf-8")
    (folder / PICTURE).write_text(
        still(_histogram(values, kept, f"{told['score'].get('kind', 'score')} in {told['unit']}")), encoding="utf-8"
    )
    (folder / "README.md").write_text(_text(told, tables), encoding="utf-8")


def _text(told: Counts, tables: Mapping[str, Mapping[str, Counts]]) -> str:
    among = f", within each {told['by']}" if told["by"] else ""
    measured = "tokens" if told["of_tokens"] else "documents"
    lines = [
        "# Selected documents",
        "",
        f"{told['kept']:,} of {told['of']:,} scored documents ({_share(told['kept'], told['of'])}) with {told['tokens_kept']:,} of "
        f"{told['tokens_of']:,} tokens ({_share(told['tokens_kept'], told['tokens_of'])}) of `{told['data']['source']}`: "
        f"band `{told['band']}`, {told['share']:.4g} of the {measured}{among}, by `{json.dumps(told['score'])}`.",
        "",
        f"{told['without_score']:,} documents have no score (held out, or too short) and were not chosen from; "
        f"{told['repeated']:,} repeat others, which count once and are written once.",
        f"Content hash of the data: `{told['content']}`. Models: {', '.join(f'`{name}`' for name in told['models'])}.",
        "",
        f"![Scores, and which were kept]({PICTURE})",
    ]
    for title, head, counts in (
        ("By source", told["by"] or "file", told["by_source"]),
        ("By length", "characters", tables["by_length"]),
        ("By tokens", "tokens", tables["by_tokens"]),
    ):
        lines += ["", f"## {title}", "", f"| {head} | documents kept | of | | tokens kept | of | |", "|---|--:|--:|--:|--:|--:|--:|"]
        lines += [_row(name, row) for name, row in counts.items()]
    return "\n".join(lines) + "\n"


def _row(name: str, row: Counts) -> str:
    shown = " ".join(name.split()).replace("|", "\\|")
    documents, tokens = _share(row["kept"], row["of"]), _share(row["tokens_kept"], row["tokens_of"])
    return f"| {shown} | {row['kept']:,} | {row['of']:,} | {documents} | {row['tokens_kept']:,} | {row['tokens_of']:,} | {tokens} |"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def _histogram(values: Array, kept: NDArray[np.bool_], title: str) -> dict[str, Any]:
    """All scores, and the kept ones in front of them; what lies beyond the last thousandth is in the outermost bars."""
    low, high = np.quantile(values, [0.001, 0.999])
    edges = np.linspace(low, high if high > low else low + 1, BARS + 1)
    rows = [
        {"from": float(edges[place]), "to": float(edges[place + 1]), "documents": int(count), "which": which}
        for which, some in (("scored", values), ("kept", values[kept]))
        for place, count in enumerate(np.histogram(np.clip(some, edges[0], edges[-1]), edges)[0])
    ]
    return {
        "width": 560,
        "height": 220,
        "data": {"values": rows},
        "mark": {"type": "rect"},
        "encoding": {
            "x": {"field": "from", "type": "quantitative", "title": title, "scale": {"zero": False}},
            "x2": {"field": "to"},
            "y": {"field": "documents", "type": "quantitative", "title": "documents"},
            "color": {
                "field": "which",
                "type": "nominal",
                "title": None,
                "scale": {"domain": ["scored", "kept"], "range": ["#cfd4dc", "#2b6cb0"]},
            },
        },
    }
