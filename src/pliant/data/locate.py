"""Which files a corpus's source names."""

from __future__ import annotations

import os
from pathlib import Path

from pliant.data.patterns import is_pattern, matching
from pliant.errors import PliantError
from pliant.files import expanded
from pliant.spec import nearest

COMPRESSIONS = (".gz", ".xz", ".zst")
TABLES = (".parquet", ".arrow", ".feather")
LINES = (".jsonl", ".ndjson", ".json")
CARD = "selection.json"
"""In a folder that `pliant select` wrote, beside the folder `data`, which is what it stands for."""


def kind_of(path: Path) -> str:
    """The suffix that tells the format, below a compression's: `a.jsonl.xz` -> `.jsonl`."""
    return Path(path.stem).suffix.lower() if path.suffix.lower() in COMPRESSIONS else path.suffix.lower()


def locate(source: str) -> list[Path]:
    """The files of a source, sorted by name.

    A path that exists is that path, also where it could be a pattern; what a pattern matches is read as if it were named. A
    folder stands for its Parquet and Arrow files, else its JSON files, else all its files, those of folders within included
    and hidden ones left out. Raises PliantError when there is none.
    """
    scheme, _, name = source.partition(":")
    if scheme == "builtin":
        from pliant.data.builtin import builtin

        return [builtin(name)]
    if scheme == "hub":
        from pliant.data.hub import hub_files

        return hub_files(name)
    found = matching(source)
    if files := sorted({file for path in found for file in _files_of(path)}):
        return files
    raise PliantError(f"{source}: {_why_nothing(source, found)}")


def empty_files(source: str) -> list[Path]:
    """Files of no bytes that a folder would stand for, did they hold anything."""
    if source.startswith(("builtin:", "hub:")):
        return []
    return sorted({file for path in matching(source) if path.is_dir() for file in _files_of(path, empty=True)})


def _why_nothing(source: str, found: list[Path]) -> str:
    """What is wrong with a source that stands for no file."""
    if found and all(path.is_dir() for path in found):
        return "the folder holds no text" if len(found) == 1 else "these folders hold no text"
    if found:
        return "is no file that can be read (a pipe, a device, or a link to nowhere)"
    if is_pattern(source):
        return "no file has such a name"
    path = expanded(source)
    beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    hint = nearest(path.name, beside)
    return "no such file or folder" + (f"; {hint}" if hint.startswith("did you mean") else "")


def _files_of(path: Path, empty: bool = False) -> list[Path]:
    """The files that a path which exists stands for, or those that are empty."""
    if not path.is_dir():
        return [path] if path.is_file() else []
    if (path / CARD).is_file() and (path / "data").is_dir():
        path = path / "data"
    found: list[Path] = []
    for root, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(root, name) for name in names if not name.startswith(".")]
    full, bare = list[Path](), list[Path]()
    for file in found:
        if file.is_file():
            (full if file.stat().st_size > 0 else bare).append(file)
    kinds = next((kinds for kinds in (TABLES, LINES) if any(kind_of(file) in kinds for file in full)), None)
    return [file for file in (bare if empty else full) if kinds is None or kind_of(file) in kinds]
