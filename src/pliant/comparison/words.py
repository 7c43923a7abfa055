"""A comparison in words: the answer first, then each task, then what must be known before believing it."""

from __future__ import annotations

from collections.abc import Sequence

from pliant.comparison.outcomes import OVER_ALL
from pliant.comparison.row import Row

MOST_SENTENCES = 5
"""Of more answers the table tells; the first line counts them."""
COLUMNS = ("task", "metric", "A", "B", "B - A", "90% interval", "q", "verdict", "lost", "won", "items", "would decide")


def sentence(row: Row) -> str:
    """The answer to one comparison."""
    found, unit = row.effect, "" if row.unit in ("", "fraction") else f" {row.unit}"
    told = f"{found.value:+.4f}{unit} [{found.low:+.4f}, {found.high:+.4f}]"
    where = f"{row.task} ({row.items_in} tasks)" if row.task == OVER_ALL and row.items_in > 1 else row.task
    if row.verdict in ("better", "worse"):
        return f"{row.b} is {row.verdict} than {row.a}, {where}: {told}"
    if row.verdict == "tied":
        return f"{row.b} and {row.a} are tied, {where}: {told} is within ±{row.margin:g}"
    return f"{row.b} and {row.a} cannot be told apart, {where}: {told}; {_what_would(row)}"


def _tally(rows: Sequence[Row]) -> str:
    """How many of many systems are what."""
    verdicts = [row.verdict for row in rows]
    told = ", ".join(f"{verdicts.count(said)} {said}" for said in ("better", "worse", "tied", "undetermined") if said in verdicts)
    return f"against {rows[0].a}, over all tasks: {told}"


def _what_would(row: Row) -> str:
    """What would decide."""
    items, runs = row.more_items, row.more_seeds
    ways = ([f"{items:,} more items"] if items else []) + ([f"{runs:,} more runs of each"] if runs else [])
    if ways:
        return f"{' or '.join(ways)} would decide, if it is as it seems"
    return "no number of items would decide; make more runs" if row.effect.runs > 1 else "no number of items would decide"


def lines(rows: Sequence[Row], notes: Sequence[str]) -> list[str]:
    """The answer over all tasks, the ranks, and what must be known before believing them."""
    last = [row for row in rows if row.task == OVER_ALL]
    said = [sentence(row) for row in last] if len(last) <= MOST_SENTENCES else [_tally(last)]
    said += [f"  {text}" for text in rank_lines(rows)]
    several = len({row.b for row in last}) > 1
    facts = last[:MOST_SENTENCES] if len(last) <= MOST_SENTENCES else ()
    said += [f"  {row.b + ': ' if several else ''}{text}" for row in facts for text in _facts(row)]
    said += [f"  {text}" for text in soonest(rows)]
    said += [f"  note: {text}" for text in (*notes, *notes_by_task(rows))]
    return said


def rank_lines(rows: Sequence[Row]) -> list[str]:
    """The ranks that each system may have, best first."""
    ranks: dict[str, tuple[int, int]] = {}
    values: dict[str, float] = {}
    for row in rows:
        if row.ranks is not None:
            ranks |= {row.a: row.ranks[0], row.b: row.ranks[1]}
            values |= {row.a: row.a_value, row.b: row.b_value}
    ordered = sorted(ranks, key=lambda name: (sum(ranks[name]), name))
    return [f"rank {_span(ranks[name])}: {name} ({values[name]:.4f})" for name in ordered]


def _span(ranks: tuple[int, int]) -> str:
    return str(ranks[0]) if ranks[0] == ranks[1] else f"{ranks[0]}-{ranks[1]}"


def _facts(row: Row) -> list[str]:
    """What else the numbers say."""
    said = [
        f"{row.lost:,} items lost, {row.won:,} won, of {row.effect.n:,}; a true difference of {row.mde:.4f} is found four times in five"
    ]
    if row.noise is not None:
        said.append(f"runs of one system differ by ±{row.noise:.4f} among themselves")
    elif row.effect.runs == 1:
        said.append("one run of each: how much another seed would change is not in the interval")
    return said


def notes_by_task(rows: Sequence[Row]) -> list[str]:
    """What must be known of single tasks, once."""
    said: dict[str, list[str]] = {}
    for row in rows:
        if row.task != OVER_ALL:
            for note in row.notes:
                said.setdefault(note, []).append(row.task)
    return [f"{', '.join(dict.fromkeys(tasks[:3]))}{' ...' if len(set(tasks)) > 3 else ''}: {note}" for note, tasks in said.items()]


def table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Headings, and a line for each row, those over all tasks last."""
    if len({row.b for row in rows}) < 2:
        return list(COLUMNS), [cells(row) for row in rows]
    return [*COLUMNS[:2], "B is", *COLUMNS[2:]], [[*cells(row)[:2], row.b, *cells(row)[2:]] for row in rows]


def cells(row: Row) -> list[str]:
    """One line of the table."""
    found = row.effect
    needed = {0: "", None: "more runs"}.get(row.more_items, f"+{row.more_items:,} items" if row.more_items else "")
    values = [f"{row.a_value:.4f}", f"{row.b_value:.4f}", f"{found.value:+.4f}", f"{found.low:+.4f} to {found.high:+.4f}"]
    return [row.task, row.metric, *values, f"{row.q:.3f}", row.verdict, str(row.lost), str(row.won), f"{found.n:,}", needed]


def soonest(rows: Sequence[Row]) -> list[str]:
    """Of tasks with several metrics: how many items each would take to show this difference, the fewest first."""
    said: list[str] = []
    for task, a, b in dict.fromkeys((row.task, row.a, row.b) for row in rows if row.task != OVER_ALL):
        found = [row for row in rows if (row.task, row.a, row.b) == (task, a, b)]
        if len(found) > 1:
            signal = sorted(found, key=lambda row: -abs(row.effect.value) / row.effect.stderr if row.effect.stderr else 0.0)
            told = ", ".join(f"{row.metric} {abs(row.effect.value) / row.effect.stderr:.1f}" for row in signal if row.effect.stderr)
            said.append(f"{task}: difference in standard errors by metric: {told}")
    return said
