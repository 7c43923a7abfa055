"""Folders that stay while somebody holds them, in whatever process, and are deleted with the last who lets go.

Idea: the folders of a store are named by commits. Whoever holds one locks a file of their own beside it, `COMMIT.XXXX.lock`. The
system frees the locks of a process that is killed, so that its folders are found and deleted by the next one. Only one process at
a time looks and decides. Nothing but such folders and lock files is ever deleted, and no link is followed.
"""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Generator
from pathlib import Path

from pliant.files import disk_errors
from pliant.models.hub_files import PART
from pliant.models.hub_listing import COMMIT


class Holder:
    """Keeps one folder of a store until `release`. To be made in `alone`. Raises PliantError when the store cannot be written."""

    def __init__(self, folder: Path) -> None:
        from filelock import FileLock

        self.folder = folder
        self._file = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}.lock")
        self._lock = FileLock(self._file, thread_local=False)
        with disk_errors(folder):
            self._lock.acquire()

    def release(self) -> None:
        """Let go of the folder; the last holder deletes it."""
        with alone(self.folder.parent):
            self._lock.release()
            self._file.unlink(missing_ok=True)
            if not _in_use(self.folder):
                _delete(self.folder)


@contextlib.contextmanager
def alone(store: Path) -> Generator[None]:
    """Only one process at a time decides what may stand in the store, which is made where it is missing."""
    from filelock import FileLock

    with disk_errors(store):
        store.mkdir(parents=True, exist_ok=True)
        lock = FileLock(store / "store.lock")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def folders(store: Path) -> set[Path]:
    """Those that stand in the store."""
    return {path for path in store.iterdir() if COMMIT.fullmatch(path.name) and path.is_dir() and not path.is_symlink()}


def sweep(store: Path, keep: Path | None = None) -> None:
    """Delete what killed processes left: every folder that nobody holds, and half files of the one to keep. To be called in `alone`."""
    locked = {store / path.name[:40] for path in store.glob("*.*.lock") if COMMIT.match(path.name)}
    for folder in folders(store) | locked:
        if _in_use(folder):
            continue
        if folder != keep:
            _delete(folder)
        elif not folder.is_symlink():
            for half in folder.rglob(f"*{PART}"):
                half.unlink(missing_ok=True)


def _in_use(folder: Path) -> bool:
    """Whether anybody holds it; lock files of those who were killed are deleted on the way."""
    return any(_is_held(lock) for lock in folder.parent.glob(f"{folder.name}.*.lock"))


def _is_held(file: Path) -> bool:
    from filelock import FileLock, Timeout

    try:
        with FileLock(file, timeout=0):
            pass
    except Timeout:
        return True
    file.unlink(missing_ok=True)
    return False


def _delete(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.with_name(f"{folder.name}.lock").unlink(missing_ok=True)
