"""A disk that fails: every file operation of a simulated process can be refused, cut short, or its last.

Idea: a simulated process is a thread, or the calling one, whose operations on one folder pass through `Process.meet`. The few
functions of Python under which files are changed (`os.rename`, `os.unlink`, `open` ...) are replaced, and Arrow's Parquet
writer, which writes by itself, is handed a file of ours; `test_disk.py` asks Python's audit events whether any was forgotten.
A kill raises `Killed`; whatever that process still tries on its way out (`finally`, buffers flushed by the garbage collector)
leaves the disk as it is, while locks are freed, as the system would. Several processes take turns between two operations.
What goes wrong: reads by native code (DuckDB, Arrow) and writes by safetensors are not cut into their parts.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import fcntl
import io
import itertools
import os
import random
import re
import threading
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

Fault = tuple[str, float]
"""`EIO` (this operation fails), `ENOSPC` (the disk is full from here on) or `kill`; and the share of a write that gets through."""
FAULTS = ("EIO", "ENOSPC", "kill")
CHANGING = ("mkdir", "rmdir", "rename", "replace", "unlink", "remove", "chmod", "link", "symlink", "truncate", "ftruncate", "fsync")
READING = ("scandir", "listdir")
ROOM = {"open", "write", "mkdir", "link", "symlink"}
"""What a full disk refuses. To the others it does not matter."""
_here = threading.local()


class Killed(BaseException):
    """The simulated process is no more."""


class Process:
    """What is to happen to the file operations of one life of a program under `root`, and what did."""

    def __init__(self, root: Path, faults: Callable[[int], Fault | None] = lambda number: None) -> None:
        self.root, self.faults = str(root), faults
        self.dead = self.full = self.harmed = False
        self.operations: list[str] = []
        self.locks: set[int] = set()
        self.pause: Callable[[], None] = lambda: None
        self.error: BaseException | None = None

    def run(self, program: Callable[[], Any]) -> None:
        """Run the program until its end, its error or its death; `error` tells."""
        _here.process = self
        try:
            program()
        except (Killed, Exception) as error:
            self.error = error.with_traceback(None) if self.dead else error
        finally:
            _here.process = None

    def concerns(self, place: Any, **options: Any) -> bool:
        """Whether an operation is on the simulated disk. Numbers are of files that were opened there."""
        if isinstance(place, int) or options.get("dir_fd") is not None:
            return True
        return os.fsdecode(place).startswith(self.root)

    def meet(self, operation: str, place: Any = "") -> float | None:
        """Let the others have a turn, then let happen what is due. A share is what a write still does before `strike`."""
        self.pause()
        number = len(self.operations)
        self.operations.append(f"{operation} {place}")
        kind, share = self.faults(number) or ("", 1.0)
        if not kind and not (self.full and operation in ROOM):
            return None
        self.harmed = True
        self.full |= kind == "ENOSPC" and operation in ROOM
        self.dead |= kind == "kill"
        self.operations[-1] += f"  <- {kind or 'ENOSPC'}" + (f" after {share:.2f}" if operation == "write" else "")
        if operation != "write":
            self.strike(operation)
        return share if kind else 0.0

    def strike(self, operation: str) -> None:
        """End, or fail as the disk does."""
        if self.dead:
            for number in self.locks:  # the system frees them, whatever the program does on its way out
                with contextlib.suppress(OSError):  # closed
                    fcntl.flock(number, fcntl.LOCK_UN)
            raise Killed
        number = errno.ENOSPC if self.full and operation in ROOM else errno.EIO
        raise OSError(number, os.strerror(number))


class Raw(io.FileIO):
    """A file of a simulated process, below Python's buffers."""

    process: Process

    def write(self, data: Any, /) -> int:
        """As the system does, or a part of it."""
        if self.process.dead:
            return len(data)  # a dead process's buffers go nowhere
        share = self.process.meet("write", self.name)
        if share is None:
            return super().write(data)
        super().write(bytes(data)[: int(share * len(data))])
        return self.process.strike("write") or 0

    def truncate(self, size: int | None = None, /) -> int:
        if self.process.dead:
            return 0
        self.process.meet("truncate", self.name)
        return super().truncate(size)


def _guarded(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        process: Process | None = getattr(_here, "process", None)
        if process is None or not process.concerns(arguments[0] if arguments else "", **options):
            return real(*arguments, **options)
        if process.dead:
            return _dead(name)
        operation = "read" if name == "open" and not arguments[1] & os.O_CREAT else name
        process.meet(operation, " ".join(str(argument) for argument in arguments[:2]))
        return real(*arguments, **options)

    return call


def _flock(real: Callable[[Any, int], None]) -> Callable[[Any, int], None]:
    def call(file: Any, operation: int) -> None:
        real(file, operation)
        if process := getattr(_here, "process", None):
            change = process.locks.discard if operation & fcntl.LOCK_UN else process.locks.add
            change(file if isinstance(file, int) else file.fileno())

    return call


def _dead(name: str) -> None:
    """What does nothing can be skipped in silence, so that a lock after it is still given back; what answers cannot."""
    if name in ("open", *READING):
        raise Killed


def _open(real: Callable[..., Any]) -> Callable[..., Any]:
    def call(file: Any, mode: str = "r", buffering: int = -1, encoding=None, errors=None, newline=None, closefd=True, opener=None) -> Any:
        process: Process | None = getattr(_here, "process", None)
        if process is None or not process.concerns(file):
            return real(file, mode, buffering, encoding, errors, newline, closefd, opener)
        if process.dead:
            raise Killed
        writing = set(mode) & set("wax+")
        process.meet("open" if writing else "read", file)
        if not writing:
            return real(file, mode, buffering, encoding, errors, newline, closefd, opener)
        raw = Raw(file, mode.replace("b", "").replace("t", ""), closefd, opener)
        raw.process = process
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)

    return call


def _native(real: Callable[..., Any]) -> Callable[..., Any]:
    """A function that writes the file of its second argument by itself: all of it, or cut to a part afterwards."""

    def call(content: Any, file: Any, *arguments: Any, **options: Any) -> Any:
        process: Process | None = getattr(_here, "process", None)
        if process is None or not process.concerns(file):
            return real(content, file, *arguments, **options)
        if process.dead:
            raise Killed
        share = process.meet("write", file)
        answer = real(content, file, *arguments, **options)
        if share is not None:
            with io.FileIO(file, "r+") as stream:  # below what is simulated
                stream.truncate(int(share * len(stream.readall())))
            process.strike("write")
        return answer

    return call


def _sleep(real: Callable[[float], None]) -> Callable[[float], None]:
    def call(seconds: float) -> None:
        process: Process | None = getattr(_here, "process", None)
        return real(seconds) if process is None else process.pause()

    return call


class _Connection:
    """DuckDB without what takes long: one instance serves all, and views of views are made when a query names one.

    Others have a turn before each query.
    """

    numbers = itertools.count()

    def __init__(self, instance: Any) -> None:
        self.instance, self.name = instance, f"life{next(self.numbers)}"
        self.waiting: dict[str, str] = {}
        self.cursor = instance.cursor()
        self.cursor.execute(f"attach ':memory:' as {self.name}; use {self.name}")

    def __enter__(self) -> _Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.cursor.close()
        self.instance.execute(f"detach {self.name}")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cursor, name)

    def execute(self, query: str, *parameters: Any) -> Any:
        """The query; settings would bind all connections of the instance."""
        if query.startswith("set "):
            return self.cursor
        if (view := re.match(r"\s*create or replace view (\w+)", query)) and "read_parquet" not in query:
            self.waiting[view[1]] = query
            return self.cursor
        return self._at(self.cursor.execute, query, *parameters)

    def sql(self, query: str) -> Any:
        return self._at(self.cursor.sql, query)

    def _at(self, method: Callable[..., Any], query: str, *parameters: Any) -> Any:
        process: Process | None = getattr(_here, "process", None)
        if process is not None:
            process.pause()
        if any(name in query for name in self.waiting):
            for view in self.waiting.values():
                self.cursor.execute(view)
            self.waiting.clear()
        return method(query, *parameters)


@contextlib.contextmanager
def simulated_disk(*native: tuple[Any, str]) -> Generator[None]:
    """While the block runs, simulated processes meet their faults. Everything else goes its way.

    `native` are modules and their functions that write a file by themselves.
    """
    import duckdb
    import pyarrow.parquet as pq

    opened, start = _open(io.open), pq.ParquetWriter.__init__

    def writer(self: Any, where: Any, *arguments: Any, **options: Any) -> None:
        ours = getattr(_here, "process", None) is not None and isinstance(where, (str, Path))
        stream = opened(where, "wb") if ours else where
        start(self, stream, *arguments, **options)
        if ours:
            self.file_handle = stream  # which closes it

    def connect(**options: Any) -> _Connection:
        return _Connection(instance)

    with contextlib.ExitStack() as patches, duckdb.connect(config={"temp_directory": "", "threads": 1}) as instance:
        for name in ("open", "write", *CHANGING, *READING):
            patches.enter_context(mock.patch.object(os, name, _guarded(name, getattr(os, name))))
        for module, name in native:
            patches.enter_context(mock.patch.object(module, name, _native(getattr(module, name))))
        patches.enter_context(mock.patch.object(fcntl, "flock", _flock(fcntl.flock)))
        patches.enter_context(mock.patch.object(time, "sleep", _sleep(time.sleep)))
        patches.enter_context(mock.patch.object(io, "open", opened))
        patches.enter_context(mock.patch.object(builtins, "open", opened))
        patches.enter_context(mock.patch.object(pq.ParquetWriter, "__init__", writer))
        patches.enter_context(mock.patch.object(duckdb, "connect", connect))
        yield


def together(programs: Sequence[tuple[Process, Callable[[], Any]]], generator: random.Random) -> None:
    """Run the programs to their ends, in turns of one operation that `generator` deals out."""
    if len(programs) == 1:
        programs[0][0].run(programs[0][1])
        return
    back, ended = _taken(), set[threading.Thread]()
    turns: dict[threading.Thread, threading.Lock] = {}

    def life(process: Process, program: Callable[[], Any], turn: threading.Lock) -> None:
        def pause() -> None:
            back.release()
            turn.acquire()

        turn.acquire()
        process.pause = pause
        process.run(program)
        ended.add(threading.current_thread())
        back.release()

    for process, program in programs:
        turn = _taken()
        thread = threading.Thread(target=life, args=(process, program, turn))
        turns[thread] = turn
        thread.start()
    while living := [thread for thread in turns if thread not in ended]:
        turns[generator.choice(living)].release()
        back.acquire()
    for thread in turns:
        thread.join()


def _taken() -> threading.Lock:
    """A baton that somebody else holds."""
    lock = threading.Lock()
    lock.acquire()
    return lock
