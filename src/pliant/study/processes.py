"""Worker processes on this machine, seen from the parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from pliant.errors import PliantError
from pliant.study.messages import GivenUp, WorkerTask
from pliant.study.planning import Cell
from pliant.study.worker import WorkerSettings

START = "import sys; sys.path[:] = sys.argv[3:]; from pliant.study.worker import main; main()"
"""A worker's program. Its arguments: the descriptor of the pipe, the parent's process id, and where modules are found."""


class WorkerDied(Exception):
    """A worker has died; the message says how."""


@dataclass
class Worker:
    """What a pool knows of one worker, wherever it runs."""

    rung: int | None = None
    cell: Cell | None = None
    """The cell it is running."""
    opening: bool = False
    progress: float = 0.0
    """The fraction of the opening that has been reported as done."""

    @property
    def busy(self) -> bool:
        """Whether an answer is to come."""
        return self.opening or self.cell is not None

    def send(self, task: WorkerTask) -> None:
        """Give it a task. One that has died shows when its answer is awaited."""
        raise NotImplementedError

    def receive(self) -> Any:
        """Its next answer. Raises WorkerDied when it has died."""
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

    def __init__(self, settings: WorkerSettings) -> None:
        self.settings = settings

    def start(self) -> ProcessWorker:
        """A new process; it inherits nothing but its end of a pipe. With `-P`, it runs no code that lies in the current folder.

        Raises PliantError when the system has no room for another.
        """
        ours, theirs = Pipe()
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(self.settings.threads))
        try:
            with _interrupts_held():
                process = subprocess.Popen(
                    [sys.executable, "-P", "-c", START, str(theirs.fileno()), str(os.getpid()), *self.settings.path],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    env=os.environ | threads | {"TOKENIZERS_PARALLELISM": "false"},
                )
        except OSError as error:
            ours.close()
            raise PliantError(f"no worker process can be started ({error.strerror}); use fewer workers, or --workers 0") from None
        finally:
            theirs.close()
        worker = ProcessWorker(process, ours)
        with suppress(OSError):  # one that has died already shows when its answer is awaited
            ours.send(self.settings)
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

    def send(self, task: WorkerTask) -> None:
        """Put it into the pipe."""
        with suppress(OSError):
            self.connection.send(task)

    def receive(self) -> Any:
        """Take it out of the pipe."""
        try:
            answer = self.connection.recv()
        except (EOFError, OSError):  # also where it died in the middle of an answer
            self.connection.close()
        else:
            if not isinstance(answer, GivenUp):
                return answer
            self.stop()
            raise WorkerDied(f"the worker process could not go on: {answer.reason}")
        code = self.process.wait()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        advice = "; if memory ran out, use fewer workers or smaller batches" if code == -9 else ""
        raise WorkerDied(f"the worker process {how}{advice}")

    def stop(self) -> None:
        """Terminate it, and kill it when it does not listen."""
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.connection.close()


@contextmanager
def _interrupts_held() -> Generator[None]:
    """Ctrl-C waits until the block ends. A process started inside keeps it waiting until it says that it does not listen."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
