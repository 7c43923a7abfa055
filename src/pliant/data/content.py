"""What files hold: their hashes, looked up for as long as nothing about a file has changed.

Size and time alone do not tell: copying with times kept (`cp -p`, `rsync -t`, `tar`) puts other text under both. So a hash is
remembered under the inode and its change time as well, which nobody can set, and only once the file has been left alone for longer
than the clock of any file system is coarse. Cost: the first look reads everything once, at one to two gigabytes a second.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from pliant.errors import PliantError
from pliant.files import cache_folder, check_regular, write_atomic
from pliant.progress import Advance, progress
from pliant.spec import digest
from pliant.spec.yaml import read_json

_BLOCK = 1 << 20  # bytes
_SETTLED = 2.5  # seconds after which a file's next change is sure to have another time


def contents(paths: Sequence[Path], glance: Callable[[Path], None] = lambda path: None) -> list[str]:
    """The SHA-256 of each file, as 64 hexadecimal digits. Before a file is read, `glance` may refuse it.

    Raises PliantError for what is no regular file, cannot be read, or is written to meanwhile.
    """
    names = [os.path.realpath(path) for path in paths]
    target = cache_folder() / "contents" / f"{digest(json.dumps(names))}.json"
    marks = [f"{name} {mark(path)}" for name, path in zip(names, paths, strict=True)]
    known = _remembered(target)
    lasting = {name: known[name] for name in marks if name in known}
    found: list[str] = []
    unread = sum(regular(path).st_size for path, name in zip(paths, marks, strict=True) if name not in known)
    with progress("looking for changes in files", unread) as advance:
        for path, name in zip(paths, marks, strict=True):
            started = time.time()
            if name in known:
                found.append(known[name])
            else:
                glance(path)
                found.append(_hashed(path, advance))
                if not name.endswith(f" {mark(path)}"):
                    raise changed(path)
                if _last_change(path) < started - _SETTLED:
                    lasting[name] = found[-1]
    if lasting.keys() - known.keys():
        with contextlib.suppress(PliantError):  # a cache that cannot be written costs time, not the answer
            write_atomic(target, json.dumps(lasting))
    return found


def mark(path: Path) -> str:
    """What the file system says about a file; another one after every change."""
    found = regular(path)
    return f"{found.st_size}:{found.st_mtime_ns}:{found.st_ctime_ns}:{found.st_ino}:{found.st_dev}"


def regular(path: Path) -> os.stat_result:
    """A regular file's facts. Raises PliantError for pipes and devices, which may never end, and for what is not there."""
    try:
        return check_regular(path)
    except (OSError, ValueError) as error:
        raise PliantError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None


def changed(what: object) -> PliantError:
    """The complaint about text that does not hold still."""
    return PliantError(f"{what}: changed while it was read; run the same command again")


def _last_change(path: Path) -> float:
    found = regular(path)
    return max(found.st_mtime, found.st_ctime)


def _remembered(target: Path) -> dict[str, str]:
    """Hashes by mark; none from a file that is missing or damaged."""
    try:
        form = read_json(target)
    except PliantError:
        return {}
    return cast("dict[str, str]", form) if isinstance(form, dict) and all(isinstance(value, str) for value in form.values()) else {}  # pyright: ignore[reportUnknownVariableType]


def _hashed(path: Path, advance: Advance) -> str:
    """Of as many bytes as the file had at the start: one that grows faster than it is read has no end."""
    content, left = hashlib.sha256(), regular(path).st_size
    try:
        with path.open("rb", buffering=0) as stream:
            while left > 0 and (block := stream.read(min(_BLOCK, left))):
                content.update(block)
                left -= len(block)
                advance(len(block))
    except OSError as error:
        raise PliantError(f"{path}: cannot be read ({error.strerror or error})") from None
    return content.hexdigest()
