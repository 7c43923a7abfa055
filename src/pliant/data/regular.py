"""Folders that other programs read: what is called a file there must be one."""

from __future__ import annotations

from pathlib import Path

from pliant.files import check_regular

SUFFIXES = (".json", ".safetensors", ".model", ".txt", ".jinja", ".tiktoken", ".gguf")
"""Of the files that transformers opens."""


def check_files(folder: Path) -> None:
    """Raises PliantError for a pipe or device, which would be waited for without end, and for a folder in a file's place."""
    for path in sorted(folder.iterdir()):
        if path.suffix in SUFFIXES and path.exists():
            check_regular(path)
