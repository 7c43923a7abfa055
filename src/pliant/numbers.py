"""Human numbers in and out: `16M`, `2.3T`, `64k` for counts; `1e-2` for rates.

`Count` and `Rate` are the field types every spec uses, so that YAML, the command line and Python read
numbers the same way.
"""

from __future__ import annotations

import math
import re
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

LARGEST = 2**63
"""Whole numbers stay below it, so that tables, seeds and files of weights can hold them."""
_SUFFIXES = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "g": 10**9, "t": 10**12}
_COUNT = re.compile(r"([0-9][0-9_]*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)\s*([kKmMbBgGtT]?)")


def parse_count(text: object) -> int:
    """`"16M"` -> 16000000. Accepts ints, whole floats and strings with k, M, B (or G), T.

    Raises ValueError (pydantic turns it into a field error) for anything that is not a whole number >= 0.
    """
    if isinstance(text, bool):
        raise ValueError("a count must be a number such as 500000, 0.5M or 2.3T")
    if isinstance(text, int):
        number: float = text if abs(text) < LARGEST else math.inf if text > 0 else -math.inf
    elif isinstance(text, float):
        number = text
    else:
        match = _COUNT.fullmatch(str(text).strip())
        if match is None:
            raise ValueError(f"{text!r} is not a count; write it as 500000, 0.5M or 2.3T")
        number = float(match[1].replace("_", "")) * _SUFFIXES[match[2].lower()]
    if abs(number) >= LARGEST:
        raise ValueError(f"{text!r} is beyond what a whole number can be")
    if not math.isfinite(number) or number < 0 or abs(number - round(number)) > 1e-6 * max(1.0, number):
        raise ValueError(f"{text!r} is not a whole number >= 0")
    return round(number)


def parse_share(text: object) -> float:
    """`"80%"` -> 0.8, and 0.8 as it is. Raises ValueError for what is no finite number."""
    try:
        words = str(text).strip()
        number = float(words.removesuffix("%")) / (100 if words.endswith("%") else 1)
    except ValueError:
        number = math.nan
    if isinstance(text, bool) or not math.isfinite(number):
        raise ValueError(f"{text!r} is no share; write 80% or 0.8")
    return number


def format_count(number: float) -> str:
    """16000000 -> `16M`; keeps up to three significant digits, and never says `1000k`."""
    for limit, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= 0.9995 * limit:
            return f"{number / limit:.3g}{suffix}" if abs(number) < 999.5 * limit else f"{number / limit:.0f}{suffix}"
    return f"{number:.3g}" if abs(number) < 999.5 else f"{number:.0f}"


def format_seconds(seconds: float) -> str:
    """135 -> `2 min 15 s`; seconds are left out from ten minutes on."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 10:
        return f"{minutes} min {rest:02d} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"


Count = Annotated[
    int,
    BeforeValidator(parse_count),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": r"^[0-9][0-9_.]*\s*[kKmMbBgGtT]?$"}]}),
]
"""A whole number >= 0 that may be written `16M`."""

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""A finite number > 0, such as a learning rate. YAML's `1e-2`, which YAML itself reads as text, is understood."""
