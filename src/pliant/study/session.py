"""A session: one checkpoint kept open, on which cells run one after the other."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING

from pliant.errors import named
from pliant.ledger.record import Record
from pliant.progress import forwarded
from pliant.study.cell import run_cell
from pliant.study.planning import Cell

if TYPE_CHECKING:
    from pliant.models import Model, Rung


class Session:
    """Holds one open checkpoint. `told` hears, while one is being trained, which fraction of the training is done."""

    def __init__(self, device: str | None, told: Callable[[float], None] = lambda progress: None) -> None:
        self.device, self.told = device, told
        self._stack = ExitStack()
        self._model: Model | None = None
        self._base = ""

    def open(self, rung: Rung) -> str | None:
        """Close what is open and open `rung`, training it where it must be trained. Returns what went wrong, if anything."""
        import torch

        self.close()
        try:
            # torch.device as a context intercepts every call and slows training by a tenth: only where it is asked for
            place = torch.device(self.device) if self.device and self.device != "cpu" else nullcontext()
            with forwarded(self._training), place:
                self._model = self._stack.enter_context(rung.open())
                self._base = self._model.weights()
        except BaseException as error:
            self.close()
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            return named(error)
        return None

    def run(self, cell: Cell) -> list[Record]:
        """The records of one cell on the open checkpoint."""
        assert self._model is not None
        with forwarded(lambda label, progress: None):
            return run_cell(cell, self._model, self._base)

    def close(self) -> None:
        """Let go of the checkpoint."""
        self._model = None
        self._stack.close()

    def _training(self, label: str, progress: float) -> None:
        if label.startswith("training"):
            self.told(progress)
