"""Worker processes on this machine, seen from the parent."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from pliant.study.planning import Cell
from pliant.study.worker import Settings


class Gone(Exception):
    """A worker has died; the message says how."""


@dataclass
class Worker:
    """What a pool knows of one worker, wherever it runs. Tasks are `("open", rung)` and `("run", cell)`."""

    rung: int | None = None
    cell: Cell | None = None
    """The cell it is running."""
    opening: bool = False
    share: float = 0.0
    """How much of the opening has been reported as done."""

    @property
    def busy(self) -> bool:
        """Whether an answer is to come."""
        return self.opening or self.cell is not None

    def send(self, task: tuple[str, Any]) -> None:
        """Give it a task. One that has died shows when its answer is awaited."""
        raise NotImplementedError

    def receive(self) -> tuple[str, Any]:
        """Its next answer: `("opened", error)`, `("records", records)`, or `("share", how much of a training is done)`.

        Raises Gone when it has died.
        """
        raise NotImplementedError

    def stop(self) -> None:
        """End it now."""
        raise NotImplementedError


class Executor(Protocol):
    """Where workers run."""

    def start(self) -> Worker:
        """A new worker, ready for tasks."""
        ...

    def ready(self, busy: Sequence[Any]) -> list[Any]:
        """Wait until some of these have answers, or have died, and return them."""
        ...


class Processes:
    """Processes of this machine."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def start(self) -> ProcessWorker:
        """A new process; it inherits nothing but its end of a pipe."""
        ours, theirs = Pipe()
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(self.settings.threads))
        modules = os.pathsep.join(filter(None, self.settings.path))
        process = subprocess.Popen(
            [sys.executable, "-m", "pliant.study.worker", str(theirs.fileno()), str(os.getpid())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=os.environ | threads | {"TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": modules},
        )
        theirs.close()
        worker = ProcessWorker(process, ours)
        worker.send(self.settings)
        return worker

    def ready(self, busy: Sequence[Any]) -> list[Any]:
        """Those whose pipe has something, or has closed."""
        connections: dict[Any, Any] = {worker.connection: worker for worker in busy}
        return [connections[connection] for connection in wait(list(connections))]


class ProcessWorker(Worker):
    """One process at the other end of a pipe."""

    def __init__(self, process: subprocess.Popen[bytes], connection: Connection) -> None:
        super().__init__()
        self.process, self.connection = process, connection

    def send(self, task: Any) -> None:
        """Put it into the pipe."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(task)

    def receive(self) -> tuple[str, Any]:
        """Take it out of the pipe."""
        try:
            return self.connection.recv()
        except (EOFError, ConnectionError):
            self.connection.close()
            code = self.process.wait()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        advice = "; if memory ran out, use fewer workers or smaller batches" if code == -9 else ""
        raise Gone(f"the worker process {how}{advice}")

    def stop(self) -> None:
        """Terminate it, and kill it when it does not listen."""
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.connection.close()
