"""The facts of one set of weights: how large, trained on how much, with which learning rate.

These are the columns by which a ladder is compared. What is not known stays empty: a fact is never guessed from
another one. The final learning rate is among them because learning-rate decay is the rival explanation of
over-training (arXiv 2604.13627).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

from pydantic import Field

from pliant.errors import PliantError
from pliant.files import write_atomic
from pliant.numbers import Count
from pliant.spec import Spec
from pliant.spec.yaml import read_json

FACTS_FILE = "pliant.json"
FACTS_FORMAT = 1


class Checkpoint(Spec):
    """What is known about one set of weights. Only the name is required."""

    name: str = Field(description="A hub repository, a folder, or the name of a ladder trained here")
    revision: str | None = Field(default=None, description="Branch, tag or commit of a hub repository, or the rung of a ladder")
    params: Count | None = Field(default=None, description="Number of parameters, tied ones counted once")
    params_non_embedding: Count | None = Field(
        default=None, description="Parameters without token and position embeddings and without the output head"
    )
    tokens: Count | None = Field(default=None, description="Training tokens seen, repeats included")
    unique_tokens: Count | None = Field(default=None, description="Different training tokens seen")
    steps: Count | None = Field(default=None, description="Optimizer steps of the run it lies on")
    examples: Count | None = Field(
        default=None, description="Training examples seen, repeats included, where each has one label; otherwise tokens count"
    )
    density: Annotated[float, Field(ge=0, le=1)] | None = Field(default=None, description="Fraction of the weights that are kept")
    tasks: Count | None = Field(default=None, description="Different tasks it was trained on")
    peak_lr: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        default=None, description="Largest learning rate of the training run"
    )
    final_lr: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        default=None, description="Learning rate at this checkpoint"
    )
    schedule: str | None = Field(default=None, description="Learning-rate schedule: cosine, constant, wsd, linear ...")
    phase: str | None = Field(default=None, description="Part of the schedule or stage of training this checkpoint was taken from")
    training_bits: Annotated[float, Field(gt=0, le=64)] | None = Field(default=None, description="Bits per weight used in training")
    seed: int | None = Field(default=None, description="Random seed of the training run")

    @property
    def address(self) -> str:
        """`name@revision`, or the name alone."""
        return self.name if self.revision is None else f"{self.name}@{self.revision}"


def write_facts(checkpoint: Checkpoint, folder: Path) -> None:
    """Store the facts beside the weights, as `pliant.json`."""
    content = {"format": FACTS_FORMAT, "checkpoint": checkpoint.model_dump(mode="json", exclude_none=True)}
    write_atomic(folder / FACTS_FILE, json.dumps(content, indent=1) + "\n")


def read_facts(folder: Path) -> Checkpoint | None:
    """The facts stored beside the weights, or None where there are none.

    Raises PliantError when the file is damaged or from a newer version.
    """
    path = folder / FACTS_FILE
    if not os.path.lexists(path):
        return None
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("format"), int):
        raise PliantError(f"{path}: not a file that pliant wrote")
    if content["format"] > FACTS_FORMAT:
        raise PliantError(f"{path}: written by a newer version of pliant (format {content['format']}); update pliant")
    return Checkpoint.parse(content.get("checkpoint"), str(path))
