"""What became of every example: scored, or counted and listed with the reason why not.

Idea: a document that repeats another is no loss: an id names a text, and the same text has the same score, so it is scored once, under
the one id. Others have no score: those of one token, of the part that is not asked for, of a reference's training split. What is empty or
cannot be read refuses the data, unless `skip_bad` leaves it out.
What goes wrong: what selects by the scores keeps a repeated document once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pliant.data.left_out import LISTED, LeftOut
from pliant.errors import PliantError
from pliant.files import expanded, write_atomic

if TYPE_CHECKING:
    from pliant.objectives import Examples

SAID = {
    "repeated": ("repeats another, which is scored once", "repeat others, which are scored once"),
    "without_score": ("of fewer than two tokens has no score", "of fewer than two tokens have no score"),
    "empty": ("is empty, and left out", "are empty, and left out"),
    "unreadable": ("cannot be read, and is left out", "cannot be read, and are left out"),
    "not_asked": ("is of the part that was not asked for (--part all)", "are of the part that was not asked for (--part all)"),
    "reference": ("is of the reference's training split", "are of the reference's training split"),
    "cut": ("is long, and scored in pieces", "are long, and scored in pieces"),
}
"""Of one, of many."""


def accounted(objective: Any, examples: Examples) -> LeftOut:
    """What of the data of `objective` is none of its `examples`. Raises PliantError for what is empty and not to be left out."""
    found = getattr(examples, "left_out", None)
    if found is None:
        look = getattr(objective.data, "left_out", None)
        found = LeftOut() if look is None else look(objective.part)
    if found.counts["empty"] and not getattr(objective.data, "skip_bad", True):
        first = next(line.removeprefix("empty: ") for line in found.listed if line.startswith("empty: "))
        raise PliantError(f"{first} ({found.counts['empty']:,} such in all); --skip-bad leaves those out, and lists them")
    return found


def listed(out: Path, left: LeftOut, unscored: Sequence[str], aside: Collection[str]) -> tuple[Path | None, dict[str, Any]]:
    """Writes the list beside `out`, unless nothing is on it; where it is, and the counts under the names they have in JSON."""
    unscored = [name for name in unscored if name not in aside]
    counts = {name: left.counts[name] for name in SAID} | {"without_score": len(unscored), "reference": len(aside)}
    lines = left.listed + [f"without_score: {name} has fewer than two tokens" for name in unscored[: LISTED - len(left.listed)]]
    if more := sum(counts.values()) - counts["not_asked"] - counts["reference"] - len(lines):
        lines.append(f"and {more:,} more")
    place = expanded(out).with_name(f"{out.name}.left_out.txt") if lines else None
    if place is not None:
        write_atomic(place, "\n".join(lines) + "\n")
    cut = counts.pop("cut")
    return place, {"left_out": counts, "cut": cut, "listed": None if place is None else str(place)}


def told_counts(counts: Mapping[str, Any]) -> Iterator[str]:
    """A line for each reason."""
    for name, (one, many) in SAID.items():
        if count := counts["cut"] if name == "cut" else counts["left_out"][name]:
            yield f"{count:,} {one if count == 1 else many}"
