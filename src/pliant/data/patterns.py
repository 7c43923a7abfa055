"""Paths that may be patterns: the one place where * ? [ ] ** are read.

Idea: what exists as it is written is meant as it is written, part by part: in `run[lr=1e-4]/checkpoint-*` the first part names a
folder, whose brackets are part of its name, and only the second is a pattern.
"""

from __future__ import annotations

import glob
import os
from pathlib import Path

from pliant.files import expanded


def matching(pattern: str | Path) -> list[Path]:
    """The files and folders that `pattern` stands for, sorted by name: itself where it exists. Hidden ones only where asked for.

    Raises PliantError as `expanded` does.
    """
    path = expanded(pattern)
    if os.path.lexists(path):
        return [path]
    parts = path.parts[1:] if path.anchor else path.parts
    found = [Path(path.anchor)]
    for part in parts:
        found = list(dict.fromkeys(below for place in found for below in _matches(place, part)))
    return sorted(found)


def is_pattern(path: str | Path) -> bool:
    """Whether any part of `path` could be one."""
    return glob.has_magic(str(path))


def _matches(place: Path, part: str) -> list[Path]:
    """What one part of a pattern stands for inside the folder `place`."""
    literal = place / part
    if os.path.lexists(literal) or not glob.has_magic(part):
        return [literal] if os.path.lexists(literal) else []
    if part == "**":
        return [place, *_names(place, part)] if place.is_dir() else []
    return _names(place, part.replace("[", "[[]")) or _names(place, part)  # brackets are more often part of a name than a choice


def _names(place: Path, part: str) -> list[Path]:
    return [place / name for name in glob.glob(part, root_dir=place, recursive=True)]  # noqa: PTH207 (Path.glob does not know `**` for files)
