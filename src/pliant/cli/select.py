"""`pliant select SCORES`: write the documents of a band of scores, as they stand in their files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pliant.cli.change import JsonOption
from pliant.cli.fields import yaml_option
from pliant.cli.output import print_json, print_table


def select_command(
    scores: Annotated[Path, typer.Argument(help="A file of scores that `pliant score` wrote", show_default=False)],
    keep: Annotated[str, typer.Option(help="How much is kept: 50%", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="New folder for documents and card", show_default=False)],
    band: Annotated[
        str,
        typer.Option(help="Which scores: high, medium, low, random, or offset:10% for those below the highest tenth", show_default=False),
    ],
    by: Annotated[
        str | None, typer.Option(help="A field of the data: the band is taken within each of its values", show_default=False)
    ] = None,
    tokens: Annotated[bool, typer.Option("--tokens", help="Take the share of tokens, not of documents")] = False,
    data: Annotated[str | None, typer.Option(help="Where the data lies now, if it was moved", show_default=False)] = None,
    seed: Annotated[int, typer.Option(help="Of the band random", min=0, max=2**63 - 1)] = 0,
    as_json: JsonOption = False,
) -> None:
    """Writes the documents into OUT/data in the format they came in, and what was kept into OUT/README.md and OUT/selection.json.

    OUT is a corpus like any other: `--data OUT`.

    Example: pliant select scores.parquet --keep 50% --band medium -o kept
    """
    from pliant.data import Corpus
    from pliant.scores.band import Band
    from pliant.scores.selected import select, told_names

    corpus = None if data is None else Corpus.parse(yaml_option(data, "--data"), "--data")
    told = select(scores, Band.parse(keep, band), out, data=corpus, by=by, tokens=tokens, seed=seed)
    if as_json:
        print_json({name: told[name] for name in ("kept", "of", "tokens_kept", "tokens_of", "by_source")})
        return
    rows = [
        [name, f"{row['kept']:,} of {row['of']:,}", f"{row['tokens_kept']:,} of {row['tokens_of']:,}"]
        for name in told_names(told)
        for row in [told["by_source"][name]]
    ]
    total = ["together", f"{told['kept']:,} of {told['of']:,}", f"{told['tokens_kept']:,} of {told['tokens_of']:,}"]
    print_table([by or "file", "documents", "tokens"], [*rows, total] if len(rows) > 1 else rows)
    if told["without_score"] or told["repeated"]:
        print(f"not chosen from: {told['without_score']:,} without a score, {told['repeated']:,} that repeat others")
    print(f"wrote {out}: documents in {out / 'data'}, the card in {out / 'README.md'}")
