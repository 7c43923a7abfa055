"""What ladders are called, by what tells them apart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pliant.axes import axis_named
from pliant.decide.curves.series import LADDER
from pliant.numbers import format_count

if TYPE_CHECKING:
    from pliant.decide.curves.checkpoint import CheckpointDecision


def by_ladder(decisions: Iterable[CheckpointDecision]) -> dict[str, list[CheckpointDecision]]:
    """The decisions along each ladder, by what tells it apart from the others; by its family where it is the only one."""
    groups: dict[tuple[Any, ...], list[CheckpointDecision]] = {}
    for decision in decisions:
        groups.setdefault(tuple(getattr(decision.evidence, name) for name in LADDER), []).append(decision)
    differing = [place for place in range(len(LADDER)) if len({key[place] for key in groups}) > 1]
    shown = differing or [LADDER.index("family")]
    return {", ".join(_fact(LADDER[place], key[place]) for place in shown if not _told(key, place)): found for key, found in groups.items()}


def _told(key: tuple[Any, ...], place: int) -> bool:
    """Whether the family's own name says it, as names of arms that differ in their learning rates do."""
    return LADDER[place] == "peak_lr" and f"lr {key[place] or 0:g}" in str(key[LADDER.index("family")])


def _fact(name: str, value: Any) -> str:
    """One of the things that the checkpoints of a ladder have in common."""
    if value is None:
        text = "unknown"
    elif name == "params":
        text = format_count(value)
    elif name == "axis":
        text = axis_named(value).title
    else:
        text = f"{value:g}" if isinstance(value, float) else str(value)
    words = {
        "params": "{} parameters",
        "schedule": "{} schedule",
        "peak_lr": "peak learning rate {}",
        "training_bits": "{} training bits",
        "axis": "along {}",
    }
    return words.get(name, "{}").format(text)
