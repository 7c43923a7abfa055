"""Paths that may be patterns: the one place where * ? [ ] ** are read.

Idea: what exists as it is written is meant as it is written, part by part: in `run[lr=1e-4]/checkpoint-*` the first part names a
folder, whose brackets are part of its name, and only the second is a pattern.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from pliant.errors import PliantError


def at_home(path: str | Path) -> Path:
    """The path with `~` spelled out. Raises PliantError for the home of nobody, and for no path at all."""
    if not str(path):
        raise PliantError("a path is empty; write `.` for the folder you are in")
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise PliantError(f"{path}: there is no such user; write the folder's own name") from None


def matching(pattern: str | Path) -> list[Path]:
    """The files and folders that `pattern` stands for, sorted by name: itself where it exists. Hidden ones only where asked for.

    Raises PliantError as `at_home` does.
    """
    path = at_home(pattern)
    if os.path.lexists(path):
        return [path]
    parts = path.parts[1:] if path.anchor else path.parts
    found = [path.anchor]
    for part in parts:
        found = list(dict.fromkeys(below for place in found for below in _matches(place, part)))
    return sorted(map(Path, found))


def is_pattern(path: str | Path) -> bool:
    """Whether any part of `path` could be one."""
    return glob.has_magic(str(path))


def _matches(place: str, part: str) -> Iterable[str]:
    """What one part of a pattern stands for inside `place`, which is a folder's path, or empty for the current one."""
    literal = os.path.join(place, part)
    if os.path.lexists(literal) or not glob.has_magic(part):
        return [literal] if os.path.lexists(literal) else []
    if part == "**" and (not place or os.path.isdir(place)):
        return [place, *(os.path.join(place, name) for name in glob.glob(part, root_dir=place or None, recursive=True))]
    # brackets are more often part of a name than a choice of characters
    for written in (part.replace("[", "[[]"), part):
        if names := glob.glob(written, root_dir=place or None):
            return [os.path.join(place, name) for name in names]
    return []
