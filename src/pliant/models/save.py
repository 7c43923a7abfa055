"""Saving a model: safetensors, configuration, tokenizer and facts, in one step.

Idea: everything is written to a hidden folder beside the target, which then takes its place; a kill or a full disk leaves
the old folder or none, never half of one. What is saved loads again here and with plain transformers.
What goes wrong: `transforms` live outside the tensors, so a model that has any cannot be saved without losing them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

from pliant.errors import PliantError
from pliant.files import disk_errors
from pliant.models.checkpoint import write_facts
from pliant.models.load import quiet
from pliant.models.model import Model


def save(model: Model, folder: str | Path) -> None:
    """Write the model to `folder`, replacing a model that is there.

    Raises PliantError when the folder holds something else, cannot be written, or the disk is full, and when the model has
    transforms that no file can hold.
    """
    if model.transforms:
        raise PliantError(f"cannot save a model with {', '.join(model.transforms)}: that is not part of its tensors")
    with _replaced_folder(Path(folder).expanduser()) as temporary, quiet(), disk_errors(Path(folder)):
        model.network.save_pretrained(str(temporary))
        model.tokenizer.save(temporary)
        write_facts(model.checkpoint, temporary)


@contextlib.contextmanager
def _replaced_folder(target: Path) -> Generator[Path]:
    """A temporary folder beside `target` that takes its place when the block ends without an error."""
    if target.exists() and not (target.is_dir() and ((target / "config.json").is_file() or not any(target.iterdir()))):
        raise PliantError(f"{target}: holds something other than a model; choose another folder")
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
    old = temporary.with_suffix(".old")
    try:
        yield temporary
        with disk_errors(target):
            temporary.chmod(0o755)
            for path in temporary.iterdir():
                with path.open("rb+") as stream:  # the rename must not overtake the data
                    os.fsync(stream.fileno())
            if target.exists():
                target.rename(old)
            try:
                temporary.rename(target)
            except OSError:
                if old.exists():
                    old.rename(target)
                raise
            shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
