"""Folders that other programs read: what is called a file there must be one."""

from __future__ import annotations

import stat
from pathlib import Path

from pliant.errors import PliantError

SUFFIXES = (".json", ".safetensors", ".model", ".txt", ".jinja", ".tiktoken", ".gguf")
"""Of the files that transformers opens."""


def check_regular(folder: Path) -> None:
    """Raises PliantError for a pipe or device, which would be waited for without end, and for a folder in a file's place."""
    for path in sorted(folder.iterdir()):
        if path.suffix in SUFFIXES and path.exists() and not stat.S_ISREG(path.stat().st_mode):
            raise PliantError(f"{path}: is {'a folder' if path.is_dir() else 'a pipe or device'} where a file is needed")
