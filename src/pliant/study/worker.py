"""A worker: a process that keeps a session open and does the tasks it is given in it.

The parent starts it as a program of its own (`processes.py`), not through multiprocessing, so that the parent's main module is never
imported a second time: a notebook, or a script without a `__main__` guard, may call `run`. Tasks and answers travel over a
pipe between the two. A worker ends when its parent does, however that ended.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path

from pliant.errors import named
from pliant.study.messages import GivenUp, Opening, WorkerTask
from pliant.study.session import Session

PARENT_CHECK = 0.2
"""Seconds between two looks whether the parent still lives."""
TOLD_EVERY = 0.25
"""Seconds between two reports of how far a training is."""


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker needs to know before its first task."""

    path: list[str]
    """Where the parent finds modules, so that the worker finds the same: absolute, see `module_path`."""
    threads: int
    device: str | None

    def apply(self) -> None:
        """To this process."""
        sys.path[:] = self.path
        gc.disable()  # these imports make half a million objects that stay; looking through them as they come takes a second
        import torch

        import_module("transformers.modeling_utils")  # what opening any checkpoint takes

        gc.freeze()
        gc.enable()
        torch.set_num_threads(self.threads)


def module_path() -> list[str]:
    """Where this process finds modules, as absolute folders. Those that are meant relative to the current folder come last, so
    that what happens to lie there stands in for no installed package, and what a notebook imports from there is still found.
    """
    relative = [entry for entry in sys.path if Path(entry).exists() and not Path(entry).is_absolute()]  # others are marks of import hooks
    return [entry for entry in sys.path if entry not in relative] + [str(Path(entry).absolute()) for entry in relative]


def serve(connection: Connection) -> None:
    """Answer tasks, see `pliant.study.messages`, until None comes instead of one."""
    settings: WorkerSettings = connection.recv()
    settings.apply()
    last = 0.0

    def told(progress: float) -> None:
        nonlocal last
        if time.monotonic() >= last + TOLD_EVERY:
            last = time.monotonic()
            connection.send(Opening(progress))

    session = Session(settings.device, told)
    task: WorkerTask | None
    while (task := connection.recv()) is not None:
        connection.send(task.done(session))
    session.close()


def _end_with(parent: int) -> None:
    """End this process, whatever it is doing, once it is no longer a child of `parent`."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_CHECK)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """Entry point: the descriptor of the pipe and the parent's process id are the first arguments."""
    connection, parent = Connection(int(sys.argv[1])), int(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    _end_with(parent)
    try:
        serve(connection)
    except (EOFError, ConnectionError):  # the parent is gone
        os._exit(1)
    except BaseException as error:  # what no cell can answer for: a task that cannot be read, a damaged installation
        if os.environ.get("PLIANT_DEBUG"):
            traceback.print_exc()
        with suppress(OSError):
            connection.send(GivenUp(named(error)))
        os._exit(1)
