"""Patience with a hub that stops answering: how often it is asked again, and when no more.

Idea: a few attempts with longer and longer pauses, which begin anew while a download advances. A hub that keeps its callers waiting
is asked once more, not again and again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event

from pliant.models.hub_client import Cancelled, Silent, SwitchedOff, Unreachable

PAUSES = (1.0, 4.0, 16.0)
"""Seconds to wait before each further attempt when the hub stops answering."""
ENCOURAGING = 10_000_000
"""Bytes that must have come since for patience to begin anew."""


def patiently(attempt: Callable[[], None], folder: Path, cancelled: Event) -> None:
    """Runs `attempt`, which downloads into `folder`, until it succeeds.

    Raises what it raises when that will not pass or has not passed, and Cancelled where that is set meanwhile.
    """
    pauses, silent, most = iter(PAUSES), False, 0
    while True:
        try:
            return attempt()
        except SwitchedOff:
            raise
        except Unreachable as error:
            arrived = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            if arrived >= most + ENCOURAGING:
                pauses, silent, most = iter(PAUSES), False, arrived
            pause = next(pauses, None)
            if pause is None or (silent and isinstance(error, Silent)):
                raise
            silent = isinstance(error, Silent)
            if cancelled.wait(pause):
                raise Cancelled from None
