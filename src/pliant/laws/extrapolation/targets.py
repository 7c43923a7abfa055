"""The runs that are asked for: checked, and as the fit takes them; which model each run belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pliant.errors import PliantError
from pliant.laws.law import Array, Law

SAME = 1e-6
"""Sizes within this share of each other are one model's."""


def asked(law: Law, at: Mapping[str, Any], clusters: str | None, groups: Sequence[str] = ()) -> tuple[dict[str, Array], dict[str, Any]]:
    """The law's columns and the named ones of the runs that are asked for, all of one length. Raises PliantError."""
    names = [*groups, *([clusters] if clusters and clusters in at else [])]
    if missing := [name for name in groups if name not in at]:
        raise PliantError(f"this fit has a value per {missing[0]!r}: give it too")
    for column in law.columns:
        if column.name not in at and column.default is None:
            raise PliantError(f"give {column.name} ({column.unit}) too: law {law.name} predicts from {', '.join(law.column_names)}")
    values = {column.name: np.atleast_1d(np.asarray(at.get(column.name, column.default), dtype=np.float64)) for column in law.columns}
    words = {name: np.atleast_1d(np.asarray(at[name], dtype=np.str_)) for name in names}
    rows = max(len(part) for part in [*values.values(), *words.values()])
    for column in law.columns:
        found = values[column.name]
        if not np.isfinite(found).all() or (column.positive and (found <= 0).any()):
            raise PliantError(f"{column.name}: every value must be a number{' above zero' if column.positive else ''}")
        values[column.name] = np.broadcast_to(found, rows)
    return values, {name: np.broadcast_to(part, rows) for name, part in words.items()}


def model_numbers(
    law: Law, known: Mapping[str, Array], names: NDArray[np.str_] | None, columns: Mapping[str, Array], asked_names: Any
) -> NDArray[np.int64]:
    """Models as numbers, the same for known runs and those asked for, -1 for one that is not known; without names equal first columns."""
    if names is None and len(law.scale) > 1:
        first = law.scale[0]
        fitted, wanted = np.log(known[first]), np.log(columns[first])
        levels = np.unique(fitted)
        nearest = np.clip(np.searchsorted(levels, wanted), 1, max(len(levels) - 1, 1))
        nearest = np.where(
            np.abs(levels[nearest - 1] - wanted) < np.abs(levels[np.minimum(nearest, len(levels) - 1)] - wanted), nearest - 1, nearest
        )
        nearest = np.minimum(nearest, len(levels) - 1)
        return np.where(np.abs(levels[nearest] - wanted) < SAME, nearest, -1)
    if names is None or asked_names is None:
        rows = len(next(iter(columns.values())))
        return np.arange(rows) if columns is known else np.full(rows, -1)
    position = {name: index for index, name in enumerate(np.unique(names).tolist())}
    return np.array([position.get(str(name), -1) for name in asked_names])
