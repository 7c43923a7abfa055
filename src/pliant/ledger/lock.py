"""The lock of a ledger: one process writes at a time, and whoever comes second is told who is first."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Generator
from pathlib import Path

from pliant.errors import PliantError
from pliant.files import disk_errors, write_atomic

LEFT_OVER = 3600.0
"""Seconds after which a temporary file belongs to nobody: files are written in far less."""


@contextlib.contextmanager
def locked(folder: Path) -> Generator[None]:
    """Hold the lock of a ledger's folder, and first remove what killed writers left in it.

    The system gives the lock back when its holder ends, however it ends. Raises PliantError when another process holds it,
    and where something else stands in its place: a link would have its target written to.
    """
    from filelock import FileLock, Timeout

    path, holder = folder / ".lock", folder / ".lock-holder"
    if problem := no_lock(path):
        raise PliantError(f"{path}: {problem}; remove it and run again")
    lock = FileLock(path)
    try:
        with disk_errors(path):
            lock.acquire(blocking=False)
    except Timeout:
        name = _first_of(holder)
        raise PliantError(f"{folder}: another run (process {name}) is writing to this ledger") from None
    try:
        write_atomic(holder, str(os.getpid()))
        _tidy(folder)
        yield
    finally:
        with contextlib.suppress(OSError):
            holder.unlink(missing_ok=True)
        lock.release()


def _first_of(holder: Path) -> str:
    """Who holds the lock; it may be giving it back just now."""
    try:
        return holder.read_text(errors="replace")[:20].strip() or "?"
    except OSError:
        return "?"


def no_lock(path: Path) -> str | None:
    """Why what stands at this path cannot be a lock, if it cannot."""
    if path.is_symlink():
        return "is a link, which cannot be a lock"
    return "is no file, and cannot be a lock" if path.exists() and not path.is_file() else None


def _tidy(folder: Path) -> None:
    """Remove the temporary files of writers that were killed long ago."""
    for place in (folder, folder / "records", folder / "failures", folder / "studies"):
        for path in place.glob(".*.tmp"):
            with contextlib.suppress(OSError):  # another writer's, just renamed
                if time.time() - path.lstat().st_mtime > LEFT_OVER:
                    path.unlink()
