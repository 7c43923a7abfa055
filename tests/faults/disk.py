"""A disk that fails: every file operation of a simulated process can be refused, cut short, or its last.

Idea: a simulated process is a thread, or the calling one, whose operations on one folder pass through `Process.meet`. The few
functions of Python under which files are changed (`os.rename`, `os.unlink`, `open` ...) are replaced, and Arrow's Parquet
writer, which writes by itself, is handed a file of ours; `test_disk.py` asks Python's audit events whether any was forgotten.
A kill raises `Killed`; whatever that process still tries on its way out (`finally`, buffers flushed by the garbage collector)
leaves the disk as it is, while locks are freed, as the system would. Several processes take turns between two operations.
What goes wrong: reads by native code (DuckDB, Arrow) and writes by safetensors are not cut into their parts.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

Fault = tuple[str, float]
"""`EIO` (this operation fails), `ENOSPC` (the disk is full from here on) or `kill`; and the share of a write that gets through."""
FAULTS = ("EIO", "ENOSPC", "kill")
CHANGING = ("mkdir", "rmdir", "rename", "replace", "unlink", "remove", "chmod", "link", "symlink", "truncate", "ftruncate", "fsync")
READING = ("scandir", "listdir")
ROOM = {"open", "write", "mkdir", "link", "symlink"}
"""What a full disk refuses. To the others it does not matter."""
_here = threading.local()


def here() -> Process | None:
    """The process that this thread is, if it is a simulated one."""
    return getattr(_here, "process", None)


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
            for number in tuple(self.locks):  # the system frees them, whatever the program does on its way out
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


def guarded(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        process = here()
        if process is None or not process.concerns(arguments[0] if arguments else "", **options):
            return real(*arguments, **options)
        if process.dead:
            return _dead(name)
        operation = "read" if name == "open" and not arguments[1] & os.O_CREAT else name
        process.meet(operation, " ".join(str(argument) for argument in arguments[:2]))
        return real(*arguments, **options)

    return call


def intercepted_flock(real: Callable[[Any, int], None]) -> Callable[[Any, int], None]:
    def call(file: Any, operation: int) -> None:
        real(file, operation)
        if process := here():
            change = process.locks.discard if operation & fcntl.LOCK_UN else process.locks.add
            change(file if isinstance(file, int) else file.fileno())

    return call


def _dead(name: str) -> None:
    """What does nothing can be skipped in silence, so that a lock after it is still given back; what answers cannot."""
    if name in ("open", *READING):
        raise Killed


def intercepted_open(real: Callable[..., Any]) -> Callable[..., Any]:
    def call(file: Any, mode: str = "r", buffering: int = -1, encoding=None, errors=None, newline=None, closefd=True, opener=None) -> Any:
        process = here()
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


def native_writer(real: Callable[..., Any]) -> Callable[..., Any]:
    """A function that writes the file of its second argument by itself: all of it, or cut to a part afterwards."""

    def call(content: Any, file: Any, *arguments: Any, **options: Any) -> Any:
        process = here()
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
