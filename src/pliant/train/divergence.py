"""What is kept of a run that diverged, so that it need not diverge again."""

from __future__ import annotations

from math import isfinite, nan
from pathlib import Path

from pliant.errors import PliantError
from pliant.files import write_atomic
from pliant.progress import remark
from pliant.spec import Spec
from pliant.spec.yaml import read_json
from pliant.train.log import Diverged


class Divergence(Spec):
    """How a run ended that diverged."""

    message: str
    step: int = 0
    loss: float | None = None
    lr: float | None = None


def remember(error: Diverged, record: Path) -> None:
    """Write it to a file."""
    numbers = {name: value for name, value in (("loss", error.loss), ("lr", error.lr)) if isfinite(value)}  # others are no JSON
    write_atomic(record, Divergence(message=str(error), step=error.step, **numbers).model_dump_json())


def raise_again(record: Path, before: int | None = None) -> None:
    """Raises Diverged as the run did, unless it did so after step `before`; a damaged record is left out, and the run made again."""
    if not record.exists():
        return
    try:
        told = Divergence.parse(read_json(record), str(record))
    except PliantError as error:
        remark(f"{error}; the run is made again")
        return
    if before is None or told.step < before:
        raise Diverged(told.message, told.step, nan if told.loss is None else told.loss, nan if told.lr is None else told.lr)
