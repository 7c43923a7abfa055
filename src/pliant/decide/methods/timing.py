"""How long a search takes, from a few steps that are made for it and from the readings of the base."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pliant.changes.restore import restored
from pliant.errors import PliantError, first_line

if TYPE_CHECKING:
    from pliant.decide.methods.ground import Ground

STEPS = 3


def seconds(ground: Ground) -> tuple[float, float]:
    """Of one optimizer step of all weights, and of one reading. Raises PliantError where training fails."""
    start = time.monotonic()
    ground.tuning.read(ground.model)
    reading = time.monotonic() - start
    short = ground.finetune.model_copy(update={"lr": 1e-9, "steps": max(STEPS, ground.finetune.steps or 0)})
    try:
        with restored(ground.model):
            log = short.tune(ground.model, 0, until=STEPS, quiet=True)
    except (RuntimeError, MemoryError) as error:
        raise PliantError(f"training all weights cannot be timed ({first_line(error)}); give --steps instead of a time") from None
    return log.seconds / log.steps, reading
