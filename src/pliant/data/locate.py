"""Which files a corpus's source names."""

from __future__ import annotations

import glob
import os
from pathlib import Path

from pliant.errors import PliantError
from pliant.files import expanded
from pliant.spec import nearest

COMPRESSIONS = (".gz", ".xz", ".zst")
TABLES = (".parquet", ".arrow", ".feather")
LINES = (".jsonl", ".ndjson", ".json")


def kind_of(path: Path) -> str:
    """The suffix that tells the format, below a compression's: `a.jsonl.xz` -> `.jsonl`."""
    return Path(path.stem).suffix.lower() if path.suffix.lower() in COMPRESSIONS else path.suffix.lower()


def locate(source: str) -> list[Path]:
    """The files of a source, sorted by name.

    A folder stands for its Parquet and Arrow files, else its JSON files, else all its files, those of folders within
    included and hidden ones left out. Raises PliantError when there is none.
    """
    scheme, _, name = source.partition(":")
    if scheme == "builtin":
        from pliant.data.builtin import builtin

        return [builtin(name)]
    if scheme == "hub":
        from pliant.data.hub import hub_files

        return hub_files(name)
    path = expanded(source)
    if path.is_file():
        return [path]
    if path.is_dir():
        return _of_folder(path)
    if glob.has_magic(source):
        found = sorted(Path(name) for name in glob.glob(str(path), recursive=True) if Path(name).is_file())  # noqa: PTH207 (Path.glob takes no absolute pattern)
        if not found:
            raise PliantError(f"{source}: no file has such a name")
        return found
    beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    hint = nearest(path.name, beside)
    raise PliantError(f"{source}: no such file or folder" + (f"; {hint}" if hint.startswith("did you mean") else ""))


def _of_folder(folder: Path) -> list[Path]:
    found: list[Path] = []
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(root, name) for name in names if not name.startswith(".")]
    found = sorted(path for path in found if path.is_file() and path.stat().st_size > 0)
    for kinds in (TABLES, LINES):
        chosen = [path for path in found if kind_of(path) in kinds]
        if chosen:
            return chosen
    if not found:
        raise PliantError(f"{folder}: the folder holds no text")
    return found
