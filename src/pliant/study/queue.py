"""The cells of a study that nobody has taken, and who should take which.

Idea: a worker keeps its checkpoint as long as that has cells left. A free one takes the checkpoint with most work that nobody
has opened, or helps with one that is ready. So training the largest rung begins first, and no one waits at the end.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pliant.study.planning import Cell, Plan


@dataclass
class Queue:
    """The cells that nobody has taken, by rung; the unchanged checkpoint first, then the costliest."""

    plan: Plan
    in_order: bool = False
    """Take rungs in the plan's order, one after the other, instead of the costliest first."""
    waiting: dict[int, list[Cell]] = field(default_factory=dict[int, list[Cell]])
    ready: set[int] = field(default_factory=set[int])
    """Rungs that open at no cost: stored ones, and those that a worker has trained."""

    def __post_init__(self) -> None:
        for cell in sorted(self.plan.cells, key=lambda cell: (not cell.change.unchanged, -cell.cost.seconds)):
            self.waiting.setdefault(cell.rung, []).append(cell)
        self.ready |= {number for number in self.waiting if not self.plan.opening[number].seconds}

    def rung_for(self, holding: int | None, held_by_others: set[int]) -> int | None:
        """The rung a free worker should turn to, given the one it holds and those the others hold; None when there is none."""
        if holding in self.waiting:
            return holding
        mine = [number for number in self.waiting if number not in held_by_others]
        shared = [number for number in self.waiting if number in self.ready]
        if self.in_order:
            return min(mine, default=None)
        return max(mine, key=self.cost, default=None) if mine else max(shared, key=self.cost, default=None)

    def cost(self, number: int) -> float:
        """Seconds of work left on a rung that nobody has taken."""
        left = sum(cell.cost.seconds for cell in self.waiting[number])
        return left + (0.0 if number in self.ready else self.plan.opening[number].seconds)

    def take(self, number: int) -> Cell:
        """The next cell of a rung."""
        cells = self.waiting[number]
        cell = cells.pop(0)
        if not cells:
            del self.waiting[number]
        return cell

    def take_all(self, number: int) -> list[Cell]:
        """Every cell of a rung that is left."""
        return self.waiting.pop(number, [])
