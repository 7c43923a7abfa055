"""Saving a model: safetensors, configuration, what makes its input, and facts, in one step.

Idea: everything is written to a hidden folder beside the target, which then takes its place; a kill or a full disk leaves
the old folder or none, never half of one. What is saved loads again here and with plain transformers.
What goes wrong: `transforms` live outside the tensors, so a model that has any cannot be saved without losing them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator
from pathlib import Path

from pliant.errors import PliantError
from pliant.files import disk_errors, expanded, replace_folder, workplace
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
    with replaced_folder(expanded(folder)) as temporary, quiet(), disk_errors(Path(folder)):
        model.network.save_pretrained(str(temporary))
        if model.words is not None:
            model.words.save(temporary)
        if model.pixels is not None:
            model.pixels.save(temporary)
        write_facts(model.checkpoint, temporary)


def before_loading(model: Model) -> str:
    """What Python code has to say before transformers alone loads a saved model: nothing, unless the network is one of pliant's."""
    from pliant.models.vision import LOADING, OWN

    return LOADING if model.network.config.model_type.startswith(OWN) else ""


@contextlib.contextmanager
def replaced_folder(target: Path) -> Generator[Path]:
    """A temporary folder beside `target` that takes its place when the block ends without an error."""
    if target.exists() and not (target.is_dir() and ((target / "config.json").is_file() or not any(target.iterdir()))):
        raise PliantError(f"{target}: holds something other than a model; choose another folder")
    with workplace(target) as place:
        made = place / "model"
        with disk_errors(target):
            made.mkdir()
        yield made
        with disk_errors(target):
            for path in made.iterdir():
                with path.open("rb+") as stream:  # the rename must not overtake the data
                    os.fsync(stream.fileno())
            replace_folder(place, made, target)
