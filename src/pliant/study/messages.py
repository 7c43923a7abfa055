"""What a pool and its workers say to each other. Tasks go one way; each is answered, a training also by how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pliant.ledger.record import Record
from pliant.study.planning import Cell
from pliant.study.session import Session

if TYPE_CHECKING:
    from pliant.models import Rung


class WorkerTask(Protocol):
    """What a worker is given. Can be pickled."""

    def done(self, session: Session) -> Any:
        """Do it, and say what came of it."""
        ...


@dataclass(frozen=True)
class OpenRung:
    """A task: open this checkpoint."""

    rung: Rung

    def done(self, session: Session) -> Opened:
        """Do it."""
        return Opened(session.open(self.rung))


@dataclass(frozen=True)
class RunCell:
    """A task: run this cell on the open checkpoint."""

    cell: Cell

    def done(self, session: Session) -> Finished:
        """Do it."""
        return Finished(session.run(self.cell))


@dataclass(frozen=True)
class Opening:
    """How much of the opening checkpoint's training is done, as a fraction."""

    progress: float


@dataclass(frozen=True)
class Opened:
    """The checkpoint is open, or cannot be opened because of an error."""

    error: str | None = None


@dataclass(frozen=True)
class Finished:
    """The cell's records."""

    records: Sequence[Record]


@dataclass(frozen=True)
class GivenUp:
    """The worker itself cannot go on."""

    reason: str


Answer = Opening | Opened | Finished
"""To a study's tasks. `GivenUp` comes in its place, and is raised as `WorkerDied` where it arrives."""
