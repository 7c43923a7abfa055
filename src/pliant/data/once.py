"""Derived files made once: safe against other processes that want the same file, against being killed, and against damage."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pliant.files import disk_errors

T = TypeVar("T")


def built_once(target: Path, build: Callable[[Path], None]) -> Path:
    """`target`, a file or folder, made by `build(temporary)` if it is not there yet; see `read_once`."""
    return read_once(target, build, lambda path: path if path.exists() else None)


def read_once(target: Path, build: Callable[[Path], None], read: Callable[[Path], T | None]) -> T:
    """What `read` makes of `target`, a file or folder, which `build(temporary)` makes if `read` finds none that is whole (None).

    Others who want the same target wait for the first. A killed builder leaves `target` untouched and a `.partial` that
    the next builder removes; the operating system drops the lock of a dead process. What is damaged is made anew.

    Raises PliantError when the folder cannot be written or the disk is full, and whatever `build` raises.
    """
    found = read(target)
    if found is not None:
        return found
    from filelock import FileLock

    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f"{target.name}.lock")):
            found = read(target)
            if found is not None:
                return found
            temporary = target.with_name(f"{target.name}.partial")
            _remove(temporary)
            try:
                build(temporary)
                _flush(temporary)
                _remove(target)
                temporary.replace(target)
            finally:
                _remove(temporary)
            found = read(target)
    if found is None:
        raise OSError(f"{target} cannot be read right after it was written")
    return found


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """To the disk itself: the rename must not overtake the data."""
    for file in path.iterdir() if path.is_dir() else (path,):
        with file.open("rb+") as stream:
            os.fsync(stream.fileno())
