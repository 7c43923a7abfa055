"""A comparison in words: the answer first, then each task, then what must be known before believing it."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, inf, isfinite, log10

from pliant.comparison.outcomes import OVER_ALL
from pliant.comparison.row import Row
from pliant.comparison.signal import Signal

SHOWN = 2
"""Items of either kind that are shown as they went the other way."""
MOST_SENTENCES = 5
"""Of more answers the table tells; the first line counts them."""
COLUMNS = ("task", "metric", "A", "B", "B - A", "90% interval", "q", "verdict", "lost", "won", "items", "would decide")


def number(value: float, reach: float, sign: str = "+") -> str:
    """A value with as many decimals as its uncertainty makes sense of, four unless that is small; `?` where it is not known."""
    if not isfinite(value):
        return "?"
    if abs(value) >= 1e6:
        return f"{value:{sign}.4g}"
    known = 1e-6 * abs(value) < reach < inf
    return f"{value:{sign}.{max(4, min(9, 1 - floor(log10(reach)))) if known else 4}f}"


def between(row: Row, link: str) -> str:
    """The interval's ends."""
    found = row.effect
    return link.join(number(end, found.reach) for end in (found.low, found.high)) if isfinite(found.reach) else "unknown"


def sentence(row: Row) -> str:
    """The answer to one comparison."""
    found, unit = row.effect, "" if row.unit in ("", "fraction") else f" {row.unit}"
    lower = " (lower is better)" if row.better == "lower" else ""
    told = f"{number(found.value, found.reach)}{unit} [{between(row, ', ')}]{lower}"
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
    if not isfinite(row.effect.reach):
        return f"one {'run of each' if row.whole_runs else 'item, or family of items,'} tells nothing of others"
    if items == 0 or runs == 0:
        return f"by itself it would count, among so many comparisons it may be chance (q {row.q:.2f})"
    ways = ([f"{items:,} more items"] if items else []) + ([f"{runs:,} more runs of each"] if runs else [])
    if ways:
        return f"{' or '.join(ways)} would decide, if it is as it seems"
    if row.whole_runs:
        return "no number of runs would decide"
    return "no number of items would decide; make more runs" if row.effect.runs > 1 else "no number of items would decide"


def answer_lines(rows: Sequence[Row]) -> list[str]:
    """The answers over all tasks; of many, how many are what."""
    last = [row for row in rows if row.task == OVER_ALL]
    return [sentence(row) for row in last] if len(last) <= MOST_SENTENCES else [_tally(last)]


def lines(rows: Sequence[Row], notes: Sequence[str], signals: Sequence[Signal] = ()) -> list[str]:
    """The answer over all tasks, the ranks, the metrics, and what must be known before believing them."""
    last = [row for row in rows if row.task == OVER_ALL]
    said = answer_lines(rows)
    said += [f"  {text}" for text in rank_lines(rows)]
    several = len({row.b for row in last}) > 1
    facts = last[:MOST_SENTENCES] if len(last) <= MOST_SENTENCES else ()
    said += [f"  {row.b + ': ' if several else ''}{text}" for row in facts for text in _facts(row)]
    said += [f"  {text}" for text in (signal_lines(signals) or soonest(rows))]
    said += [f"  {text}" for text in _examples(rows)]
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
    found = row.effect
    seen = f"a true difference of {number(row.mde, found.reach, '')} is found four times in five"
    moved = f"{row.lost:,} items lost, {row.won:,} won, of {found.n:,}; " if row.lost is not None and not row.whole_runs else ""
    said = [f"{moved}{seen}"] if isfinite(row.mde) else []
    if row.noise is not None:
        said.append(f"runs of one system differ by ±{number(row.noise, row.noise, '')} among themselves")
    elif row.effect.runs == 1:
        said.append("one run of each: how much another seed would change is not in the interval")
    return said


def _examples(rows: Sequence[Row]) -> list[str]:
    """Of two systems: items that went the other way, a few of either kind."""
    last = [row for row in rows if row.task == OVER_ALL]
    if len({row.b for row in last}) != 1:
        return []
    flips = [(row, flip) for row in rows if row.task == last[-1].flips_of for flip in row.flips]
    said: list[str] = []
    for kind, lost in (("lost", True), ("won", False)):
        found = [flip for row, flip in flips if ((flip.b < flip.a) == (row.better == "higher")) == lost][:SHOWN]
        said += [f"{kind}: {_short(flip.item)} ({flip.a:.4g} to {flip.b:.4g}){': ' + flip.text if flip.text else ''}" for flip in found]
    return said


def _short(item: str) -> str:
    return item if len(item) <= 24 else f"{item[:10]}…"


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
    items, runs = row.more_items, row.more_seeds
    needed = f"+{items:,} items" if items else f"+{runs:,} runs" if runs else "" if items == 0 else "?"
    reach = found.reach
    values = [number(row.a_value, reach, ""), number(row.b_value, reach, ""), number(found.value, reach), between(row, " to ")]
    moved = ["?", "?"] if row.lost is None else ["", ""] if row.whole_runs else [str(row.lost), str(row.won)]
    count = f"{found.runs:,} runs" if row.whole_runs else f"{found.n:,}"
    return [row.task, row.metric, *values, f"{row.q:.3f}", row.verdict, *moved, count, needed]


def soonest(rows: Sequence[Row]) -> list[str]:
    """Of tasks with several metrics: how far each is from deciding this difference, the nearest first."""
    said: list[str] = []
    for task, a, b in dict.fromkeys((row.task, row.a, row.b) for row in rows if row.task != OVER_ALL):
        found = [row for row in rows if (row.task, row.a, row.b) == (task, a, b) and 0 < row.effect.stderr < inf]
        ordered = sorted(found, key=lambda row: -abs(row.effect.value) / row.effect.stderr)
        if len(found) > 1 and ordered[0].effect.value:
            told = ", ".join(f"{row.metric} {abs(row.effect.value) / row.effect.stderr:.1f}" for row in ordered)
            said.append(f"{task}: which metric decides soonest (difference in standard errors): {told}")
    return said


def signal_lines(signals: Sequence[Signal]) -> list[str]:
    """Which metric tells systems apart best: how far they differ against how far one differs from itself."""
    return [f"{one.task}, {one.metric}: {_signal(one)}" for one in signals]


def _signal(one: Signal) -> str:
    if not one.signal:
        return f"systems differ by no more than chance makes of ±{number(one.noise, one.noise, '')}, {one.noise_is}"
    return f"systems differ by ±{number(one.signal, one.signal, '')}, {one.ratio:.1f} times {one.noise_is}"
