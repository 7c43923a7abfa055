"""What a fit moves: the free numbers behind a law's parameters, after fixing, tying, bounding and splitting by group.

A coordinate is a parameter's logarithm or the parameter itself (`Parameter.transform`). A tied parameter shares its
partner's coordinate; a parameter split by a column (`by={"b": "pool"}`) has one coordinate per value of that column, named
`b[good]`; a fixed one has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pliant.errors import PliantError
from pliant.laws.law import Array, Law, Parameter
from pliant.spec import nearest

FAR = 230.0
"""No logarithm goes further from zero: e^230 is 1e100."""


@dataclass(frozen=True)
class Coordinates:
    """Free coordinates of a fit, in a fixed order, and how each parameter is read off them."""

    names: tuple[str, ...]
    logarithmic: NDArray[np.bool_]
    low: Array
    high: Array
    owners: tuple[str, ...]
    """For each coordinate the parameter that declares it."""
    levels: Mapping[str, tuple[str, ...]]
    """For each parameter split by a column, the column's values."""
    by: Mapping[str, str]
    """For each parameter split by a column, the column."""
    fixed: Mapping[str, float]
    tied: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.names)

    def slot(self, parameter: str) -> int:
        """The first coordinate of a parameter that is not fixed; those of its other groups follow."""
        return self.owners.index(self.tied.get(parameter, parameter))

    def group_of(self, parameter: str, groups: Mapping[str, NDArray[np.str_]]) -> NDArray[np.int64] | None:
        """For a parameter split by a column, which of its coordinates each row uses; None for the others.

        Raises PliantError for a value of the column that the fit has not seen.
        """
        owner = self.tied.get(parameter, parameter)
        if owner not in self.by:
            return None
        column, levels = self.by[owner], self.levels[owner]
        if column not in groups:
            raise PliantError(f"{owner} is fitted per {column!r}: give that column too")
        position = {level: index for index, level in enumerate(levels)}
        if unknown := sorted({str(value) for value in groups[column]} - set(levels)):
            raise PliantError(f"column {column!r}: the fit has no {owner} for {unknown[0]!r}; it has {', '.join(levels)}")
        return np.array([position[str(value)] for value in groups[column]], dtype=np.int64)

    def natural(self, theta: Array) -> Array:
        """Coordinates (..., k) in natural units."""
        return np.where(self.logarithmic, np.exp(np.where(self.logarithmic, theta, 0.0)), theta)

    def internal(self, natural: Array) -> Array:
        """The reverse of `natural`."""
        return np.where(self.logarithmic, np.log(np.where(self.logarithmic, natural, 1.0)), natural)

    def values(self, law: Law, natural: Array, groups: Mapping[str, NDArray[np.str_]]) -> dict[str, Array]:
        """Every parameter of the law: shape (..., 1), or (..., rows) where it is split by group."""
        values: dict[str, Array] = {}
        for name in law.parameter_names:
            if name in self.fixed:
                values[name] = np.asarray(self.fixed[name], dtype=np.float64)
                continue
            slot, group = self.slot(name), self.group_of(name, groups)
            values[name] = natural[..., slot, None] if group is None else natural[..., slot + group]
        return values


def coordinates(
    law: Law,
    *,
    fix: Mapping[str, float | None] | None = None,
    tie: Mapping[str, str | None] | None = None,
    bounds: Mapping[str, tuple[float | None, float | None]] | None = None,
    by: Mapping[str, str] | None = None,
    groups: Mapping[str, NDArray[np.str_]] | None = None,
) -> Coordinates:
    """The free coordinates of a fit. `None` in `fix` or `tie` frees what the law itself fixes or ties.

    Raises PliantError for unknown parameters, values out of bounds, and contradictions.
    """
    fix, tie, bounds, by, groups = fix or {}, tie or {}, bounds or {}, by or {}, groups or {}
    for name in [*fix, *tie, *(other for other in tie.values() if other), *bounds, *by]:
        if name not in law.parameter_names:
            raise PliantError(f"law {law.name} has no parameter {name!r}; {nearest(name, law.parameter_names)}")
    fixed = {name: value for name, value in {**law.fix, **fix}.items() if value is not None}
    ties = {name: other for name, other in {**law.tie, **tie}.items() if other is not None and name not in fixed}
    for name in [name for name in ties if ties[name] in fixed]:  # tied to what is fixed: fixed too
        fixed[name] = fixed[ties.pop(name)]
    declared = {parameter.name: parameter for parameter in law.parameters}
    _check(declared, fixed, ties, by)

    rows: list[tuple[str, str, bool, float, float]] = []
    levels: dict[str, tuple[str, ...]] = {}
    for parameter in law.parameters:
        if parameter.name in fixed or parameter.name in ties:
            continue
        low, high = _bounds(parameter, bounds)
        names = [parameter.name]
        if parameter.name in by:
            levels[parameter.name] = tuple(sorted({str(value) for value in groups[by[parameter.name]]}))
            names = [f"{parameter.name}[{level}]" for level in levels[parameter.name]]
        rows += [(name, parameter.name, parameter.transform == "log", low, high) for name in names]
    if not rows:
        raise PliantError(f"law {law.name}: every parameter is fixed; leave at least one free")
    names, owners, logarithmic, lows, highs = zip(*rows, strict=True)
    return Coordinates(names, np.array(logarithmic), np.array(lows), np.array(highs), owners, levels, dict(by), fixed, ties)


def _check(declared: Mapping[str, Parameter], fixed: Mapping[str, float], ties: Mapping[str, str], by: Mapping[str, str]) -> None:
    for name, value in fixed.items():
        parameter = declared[name]
        if not (parameter.low <= value <= parameter.high and np.isfinite(value)) or (parameter.transform == "log" and value < 0):
            raise PliantError(f"cannot fix {name} at {value:g}: it must lie {_range_text(parameter)}")
    for name, other in ties.items():
        if other in ties or other == name:
            raise PliantError(f"cannot tie {name} to {other}: tie both to one free parameter")
        if declared[name].transform != declared[other].transform:
            raise PliantError(f"cannot tie {name} to {other}: one is positive by construction, the other is not")
    for name in by:
        if name in fixed or name in ties:
            raise PliantError(f"{name} cannot be split by {by[name]!r}: it is {'fixed' if name in fixed else 'tied'}; free it with None")


def _bounds(parameter: Parameter, bounds: Mapping[str, tuple[float | None, float | None]]) -> tuple[float, float]:
    """In the coordinate's own units."""
    low, high = bounds.get(parameter.name, (None, None))
    low = parameter.low if low is None else max(low, parameter.low)
    high = parameter.high if high is None else min(high, parameter.high)
    if parameter.transform == "log":
        low, high = (np.log(low) if low > 0 else -FAR), (np.log(high) if 0 < high < np.inf else FAR if high > 0 else -np.inf)
    if not low < high:
        raise PliantError(f"bounds of {parameter.name} leave no room: they must lie {_range_text(parameter)}; use fix for one value")
    return float(low), float(high)


def _range_text(parameter: Parameter) -> str:
    low = max(parameter.low, 0.0) if parameter.transform == "log" else parameter.low
    return f"between {low:g} and {parameter.high:g}"


def selected(coordinates: Coordinates, names: Sequence[str]) -> list[int]:
    """Positions of coordinates by name. Raises PliantError for a name there is none of."""
    for name in names:
        if name not in coordinates.names:
            raise PliantError(f"{name!r} is no free parameter of this fit; {nearest(name, coordinates.names)}")
    return [coordinates.names.index(name) for name in names]
