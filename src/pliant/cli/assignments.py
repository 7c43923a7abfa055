"""Options that assign: `--columns N=params,D=tokens`, `--bounds alpha=0:1`. Each raises PliantError with the option's name."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from pliant.errors import PliantError

NEXT_ITEM = re.compile(r",(?=\s*[A-Za-z_]\w*\s*=(?!=))")
"""A comma that starts the next NAME=...; commas inside an SQL expression do not."""


def items(option: str, given: Sequence[str] | None) -> dict[str, str]:
    """`["N=params,D=tokens"]` as a mapping."""
    found: dict[str, str] = {}
    for part in (part for text in given or () for part in NEXT_ITEM.split(text)):
        name, equals, value = part.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise PliantError(f"--{option} {part!r}: write NAME=..., several separated by commas")
        if name.strip() in found:
            raise PliantError(f"--{option}: {name.strip()} is given twice")
        found[name.strip()] = value.strip()
    return found


def finite(option: str, text: str) -> float:
    """One number."""
    try:
        value = float(text)
    except ValueError:
        raise PliantError(f"--{option}: {text[:60]!r} is no number") from None
    if not math.isfinite(value):
        raise PliantError(f"--{option}: {text[:60]!r} is beyond what a number can be")
    return value


def ends(option: str, text: str) -> tuple[float | None, float | None]:
    """`LOW:HIGH`, either of them may be missing."""
    low, colon, high = text.partition(":")
    if not colon:
        raise PliantError(f"--{option}: {text!r}: write LOW:HIGH, either of them may be missing")
    return (finite(option, low) if low.strip() else None, finite(option, high) if high.strip() else None)


def both(option: str, text: str) -> tuple[float, float]:
    """`CENTRE:DEVIATION`."""
    first, second = ends(option, text)
    if first is None or second is None:
        raise PliantError(f"--{option}: {text!r}: write CENTRE:DEVIATION")
    return first, second
