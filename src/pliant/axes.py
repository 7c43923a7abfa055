"""Axes: what the checkpoints of a ladder differ in, and how a place along it is called.

An axis has the name of the fact of a checkpoint that it runs over (`Checkpoint.tokens`, `Checkpoint.steps` ...), so a checkpoint's
position is that fact. Decisions, tables and pictures speak of a ladder through its axis.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from pliant.numbers import format_count

AxisName = Literal["examples", "tokens", "steps", "params", "tasks", "density"]
"""What a study file may call the axis of its ladder."""


@dataclass(frozen=True)
class Axis:
    """What a ladder runs over."""

    name: str
    title: str
    """On a picture's axis, and behind "over"."""
    unit: str
    """Behind or before a position: `4M tokens`, `density 0.5`."""
    whole: bool = True
    """Whether positions are counts; otherwise they are numbers such as 0.5."""
    rising: bool = True
    """Whether positions grow along the ladder; those of a ladder from dense to sparse fall."""
    beginning: float = 0.0
    """Where every run begins, before anything was done to it."""
    word: str = "at"
    """Before a position: `after 300 steps`, `at density 0.2`."""

    def number(self, position: float) -> str:
        """A position alone. Counts are rounded to whole steps, so 999424 is shown as `1M`, but 1430000 as `1.43M`."""
        if not self.whole:
            return f"{position:g}"
        short = float(f"{position:.1e}")
        return format_count(short if abs(short - position) <= 0.005 * position else position)

    def at(self, position: float) -> str:
        """A position with its unit."""
        return self.listed([position])

    def listed(self, positions: Iterable[float], between: str = ", ") -> str:
        """Several positions with their unit: `4M, 16M tokens`, `density 0.5, 0.2`."""
        numbers = between.join(map(self.number, positions))
        return f"{numbers} {self.unit}" if self.whole else f"{self.unit} {numbers}"

    def reached(self, position: float) -> str:
        """A position as a sentence has it: `at 4M tokens`, `after 300 steps`."""
        return f"{self.word} {self.at(position)}"

    @property
    def further(self) -> str:
        """Going on along it: `more tokens hurt`, `lower density hurts`."""
        return f"more {self.unit} hurt" if self.rising else f"lower {self.unit} hurts"

    def along(self, position: float) -> float:
        """A sort key: the beginning of a ladder first."""
        return position if self.rising else -position

    def plain(self, position: float) -> float:
        """A position as JSON has it: a whole number where it is a count."""
        return round(position) if self.whole else float(position)


AXES = {
    axis.name: axis
    for axis in (
        Axis("examples", "training examples", "examples", word="after"),
        Axis("tokens", "pretraining tokens", "tokens"),
        Axis("steps", "training steps", "steps", word="after"),
        Axis("params", "parameters", "parameters"),
        Axis("tasks", "training tasks", "tasks", word="with"),
        Axis("density", "fraction of weights kept", "density", whole=False, rising=False, beginning=1.0),
    )
}
"""By name, in the order in which a ladder that does not say takes the first that it knows."""


FINE_TUNING = "fine-tuning"
"""The phase of checkpoints along a fine-tuning run, whose steps are called by it."""


def axis_named(name: str | None, phase: str | None = None) -> Axis:
    """The axis of that name; of records from before there were axes, tokens. One that is not known here is called by its name.

    `phase` is that of all its checkpoints, where they share one: steps of fine-tuning are no steps of pretraining.
    """
    if name is None:
        return AXES["tokens"]
    if name == "steps" and phase == FINE_TUNING:
        return replace(AXES[name], title=f"{phase} steps", unit=f"{phase} steps")
    return AXES.get(name) or Axis(name, name.replace("_", " "), name.replace("_", " "), whole=False)
