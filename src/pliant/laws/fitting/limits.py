"""What one fit may be asked for: numbers that a saved fit can hold, and no more work than a machine can do."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pliant.errors import PliantError

MOST_FREE = 100
MOST_PROBLEMS = 20_000_000
"""Rows of all bootstrap samples, or of all random restarts, together: some minutes."""


def plain_numbers(values: Mapping[str, float | None] | None) -> dict[str, float | None]:
    """Values to fix as plain numbers, which a saved fit can hold."""
    return {name: None if value is None else float(value) for name, value in (values or {}).items()}


def open_ended(bounds: Mapping[str, tuple[float | None, float | None]] | None) -> dict[str, tuple[float | None, float | None]]:
    """Bounds with None for an end that is no bound. Raises PliantError for one that is no number."""
    found: dict[str, tuple[float | None, float | None]] = {}
    for name, ends in (bounds or {}).items():
        if any(end is not None and math.isnan(end) for end in ends):
            raise PliantError(f"bounds of {name}: an end is no number")
        low, high = (None if end is None or end == beyond else float(end) for end, beyond in zip(ends, (-math.inf, math.inf), strict=True))
        found[name] = low, high
    return found


def not_too_much(rows: int, free: int, samples: int, restarts: str | int) -> None:
    """Refuses what would take hours, or more memory than there is."""
    if free > MOST_FREE:
        raise PliantError(f"{free} free parameters are more than one fit can have ({MOST_FREE}); fit the groups apart, with where")
    for asked, name in ((samples, "bootstrap samples"), (restarts if isinstance(restarts, int) else 0, "restarts")):
        if asked * rows > MOST_PROBLEMS:
            raise PliantError(f"{asked:.6g} {name} of {rows} rows are more than can be fitted; ask for {MOST_PROBLEMS // rows} at most")
