"""Derived files made once: safe against other processes that want the same file, and against being killed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from pliant.files import disk_errors


def built_once(target: Path, build: Callable[[Path], None]) -> Path:
    """`target`, a file or folder, made by `build(temporary)` if it is not there yet.

    Others who want the same target wait for the first. A killed builder leaves `target` untouched and a `.partial` that
    the next builder removes; the operating system drops the lock of a dead process.

    Raises PliantError when the folder cannot be written or the disk is full, and whatever `build` raises.
    """
    if target.exists():
        return target
    from filelock import FileLock

    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f"{target.name}.lock")):
            if target.exists():
                return target
            temporary = target.with_name(f"{target.name}.partial")
            _remove(temporary)
            try:
                build(temporary)
                _flush(temporary)
                temporary.replace(target)
            finally:
                _remove(temporary)
    return target


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """To the disk itself: the rename must not overtake the data."""
    for file in path.iterdir() if path.is_dir() else (path,):
        with file.open("rb+") as stream:
            os.fsync(stream.fileno())
