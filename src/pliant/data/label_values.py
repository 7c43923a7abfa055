"""What a record says its label is: a class by name or number, a distribution over classes, or numbers to predict."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, cast

from pliant.errors import PliantError

Distribution = tuple[float, ...]
"""A soft label: the probability of each class, in their order."""


def class_label(value: Any) -> str | Distribution:
    """A class by its name (numbers as text, yes and no as true and false), or a distribution.

    Raises PliantError for what is missing, empty or not a number, and for probabilities that are none.
    """
    if _missing(value):
        raise PliantError("has no label")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, (list, tuple)) and value:
        return _distribution(cast("Sequence[Any]", value))
    raise PliantError(f"has the label {str(value)[:40]!r}, which is no class (a name or a whole number) and no list of probabilities")


def number_label(value: Any) -> tuple[float, ...]:
    """One number, or a list of them. Raises PliantError for what is missing or no finite number."""
    values = cast("Sequence[Any]", value) if isinstance(value, (list, tuple)) else (value,)
    found: list[float] = []
    for part in values:
        if _missing(part):
            raise PliantError("has no number for a label")
        try:
            number = float(part)
        except (TypeError, ValueError):
            number = math.nan
        if isinstance(part, bool) or not math.isfinite(number):
            raise PliantError(f"has the label {str(part)[:40]!r}, which is not a finite number")
        found.append(number)
    if not found:
        raise PliantError("has no number for a label")
    return tuple(found)


def _missing(value: Any) -> bool:
    """Null, empty and NaN are one thing, also where a table of text spells them."""
    return (
        value is None
        or (isinstance(value, float) and math.isnan(value))
        or (isinstance(value, str) and value.strip().lower() in ("", "nan"))
    )


def classes_of(labels: Iterable[str | Distribution], names: Sequence[str], source: str) -> tuple[str, ...]:
    """What the classes are called, in order: whole numbers by their size, names by the alphabet; `names` are those of the numbers.

    Raises PliantError for numbers beside names, a single class, and distributions over other numbers of classes.
    """
    different = set(labels)
    named = {label for label in different if isinstance(label, str)}
    widths = {len(label) for label in different if not isinstance(label, str)}
    if not different:
        raise PliantError(f"{source}: holds no labelled text")
    numbers = {label for label in named if label.lstrip("-").isdecimal()}
    if numbers and numbers != named:
        other = min(named - numbers)
        raise PliantError(
            f"{source}: some labels are numbers and some are names ({min(numbers)}, {other[:40]}); make them all one or the other"
        )
    if len(widths) > 1:
        raise PliantError(f"{source}: some labels are probabilities of {min(widths)} classes and some of {max(widths)}")
    if widths:
        return _of_distributions(named, next(iter(widths)), names, source)
    if len(named) == 1 and not names:
        raise PliantError(f"{source}: all are of the class {next(iter(named))!r}; there is nothing to tell apart")
    if numbers and names and all(0 <= int(number) < len(names) for number in numbers):
        return tuple(names)
    return tuple(sorted(named, key=lambda label: (int(label), "") if numbers else (0, label)))


def _of_distributions(named: set[str], width: int, names: Sequence[str], source: str) -> tuple[str, ...]:
    classes = tuple(names) if len(names) == width else tuple(str(number) for number in range(width))
    if width < 2:
        raise PliantError(f"{source}: labels are probabilities of one class; there is nothing to tell apart")
    if unknown := named - set(classes):
        raise PliantError(
            f"{source}: label {min(unknown)[:40]!r} stands beside probabilities of {width} classes; give probabilities everywhere"
        )
    return classes


def _distribution(value: Sequence[Any]) -> Distribution:
    found = number_label(value)
    if min(found) < 0 or abs(sum(found) - 1) > 1e-3:
        raise PliantError(f"has the probabilities {str(list(found))[:60]}, which are negative or do not sum to 1")
    return tuple(share / sum(found) for share in found)
