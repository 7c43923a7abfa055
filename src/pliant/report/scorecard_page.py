"""A scorecard as people read it: a table and a page."""

from __future__ import annotations

import datetime
from pathlib import Path

from pliant.comparison.words import between, number
from pliant.files import write_atomic
from pliant.report.scorecard import Scorecard
from pliant.webpage import render

COLUMNS = ["test", "metric", "before", "after", "difference", "90% interval", "detectable", "q", "verdict", "items"]


def answer(card: Scorecard) -> str:
    """In one sentence."""
    changed = {said: [f"{row.task} ({row.metric})" for row in card.rows if row.verdict == said] for said in ("worse", "better")}
    told = [f"{said}: {', '.join(names)}" for said, names in changed.items() if names]
    rest = len(card.rows) - sum(map(len, changed.values()))
    told += [f"no difference seen in {rest} of {len(card.rows)}"] if rest else []
    return "; ".join(told)


def table(card: Scorecard) -> list[list[str]]:
    """A line for each row, in the order of `COLUMNS`."""
    return [
        [
            row.task, f"{row.metric} ({row.better} is better)", f"{row.a_value:.4f}", f"{row.b_value:.4f}",
            number(row.effect.value, row.effect.reach), between(row, " to "), number(row.mde, row.effect.reach, ""), f"{row.q:.3f}",
            row.verdict, f"{row.effect.n:,}",
        ]
        for row in card.rows
    ]  # fmt: skip


def facts(card: Scorecard) -> list[str]:
    """What must be known before believing it."""
    return list(dict.fromkeys(f"{row.task}, {row.metric}: {note}" for row in card.rows for note in row.notes))


def write_card(card: Scorecard, out: Path) -> None:
    """The page, which holds everything. Raises PliantError for a file that cannot be written."""
    page = render(
        Path(__file__).parent / "scorecard.html",
        [],
        card=card,
        answer=answer(card),
        headings=COLUMNS,
        table=table(card),
        facts=facts(card) or ["Every test that was taken could be paired item by item."],
        date=datetime.date.today().isoformat(),
    )
    write_atomic(out, page)
