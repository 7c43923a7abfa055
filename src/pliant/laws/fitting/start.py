"""Where fits begin: the law's grid or random points, with the linear parameters solved for.

Idea (variable projection, as a first step): given the exponents, most laws are linear in the rest, and for a linear problem
every start ends in the same place. So each start keeps its nonlinear coordinates and takes the best linear ones for them.
Starts that become the same point are followed once and counted as many times as they were asked for: Chinchilla's grid of
4,500 starts is 25 points.
Cost: one evaluation of the law per linear parameter and start.
Source: Golub and Pereyra 1973; the starts of Hoffmann et al., arXiv 2203.15556.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pliant.errors import PliantError
from pliant.laws.fitting.coordinates import Coordinates
from pliant.laws.fitting.objective import FitObjective
from pliant.laws.law import Array, Law

GRID_LIMIT = 4500
"""A larger grid is sampled; the whole of it is the product of every parameter's start values."""
AT_LEAST = 64
"""Fewer distinct points than this are joined by random ones between the grid's outermost."""
SMALL = 1e-4
"""Share of the target that a positive term keeps when the best linear coefficient for it would be zero."""


@dataclass(frozen=True)
class StartingPoints:
    """Distinct points to start from, each standing for `counts` of the starts asked for."""

    theta: Tensor
    counts: Tensor

    @property
    def tried(self) -> int:
        """How many starts these points stand for."""
        return int(self.counts.sum())


def starting_points(objective: FitObjective, how: str | int, seed: int) -> StartingPoints:
    """`grid`: the law's own start values; a number: so many random points. Raises PliantError for anything else."""
    law, coordinates = objective.law, objective.coordinates
    linear = linear_coordinates(law, coordinates)
    if isinstance(how, bool) or not (how == "grid" or (isinstance(how, int) and how > 0)):
        raise PliantError(f"restarts {how!r}: write grid, or how many random ones")
    generator = np.random.default_rng(seed)
    if isinstance(how, int):
        points, counts = _random(law, coordinates, how, generator), np.ones(how)
    else:
        points, counts = _grid(law, coordinates, linear, generator)
        if len(points) < AT_LEAST:
            more = _random(law, coordinates, AT_LEAST - len(points), generator)
            points, counts = np.concatenate([points, more]), np.concatenate([counts, np.ones(len(more))])
    points = _levelled(objective, points)
    theta = torch.clamp(torch.as_tensor(coordinates.internal(points)), objective.low, objective.high)
    if linear:
        theta = projected(objective, theta, linear)
    return StartingPoints(theta, torch.as_tensor(counts).long())


def linear_coordinates(law: Law, coordinates: Coordinates) -> list[int]:
    """Free coordinates in which predictions are linear; none that is split by group or shared with another parameter."""
    shared = set(coordinates.tied) | set(coordinates.tied.values()) | set(coordinates.by)
    return [coordinates.slot(name) for name in law.linear if name not in coordinates.fixed and name not in shared]


def _values(law: Law, coordinates: Coordinates) -> list[tuple[float, ...]]:
    """The start values of each coordinate, within its bounds."""
    declared = {parameter.name: parameter for parameter in law.parameters}
    low, high = coordinates.natural(coordinates.low), coordinates.natural(coordinates.high)
    return [
        tuple(dict.fromkeys(float(np.clip(value, low[index], high[index])) for value in declared[owner].starts))
        for index, owner in enumerate(coordinates.owners)
    ]


def _grid(law: Law, coordinates: Coordinates, linear: Sequence[int], generator: np.random.Generator) -> tuple[Array, Array]:
    """Distinct points (n, k) in natural units, and how many grid starts each stands for."""
    values = _values(law, coordinates)
    folded = math.prod(len(values[index]) for index in linear)
    axes = [values[index][:1] if index in linear else values[index] for index in range(len(values))]
    if math.prod(len(axis) for axis in axes) <= GRID_LIMIT:
        points = np.array(list(itertools.product(*axes)), dtype=np.float64)
    else:
        points = np.stack([generator.choice(axis, GRID_LIMIT) for axis in axes], axis=1)
    return points, np.full(len(points), folded)


def _random(law: Law, coordinates: Coordinates, count: int, generator: np.random.Generator) -> Array:
    """Points spread over the box that the start values span, a little beyond it where they are one value."""
    from scipy.stats import qmc

    axes = [
        np.log(values) if logarithmic else np.array(values)
        for values, logarithmic in zip(_values(law, coordinates), coordinates.logarithmic, strict=True)
    ]
    low = np.array([axis.min() if len(axis) > 1 else axis[0] - 1 for axis in axes])
    high = np.array([axis.max() if len(axis) > 1 else axis[0] + 1 for axis in axes])
    unit = qmc.Sobol(len(coordinates), rng=generator).random(1 << max(0, count - 1).bit_length())[:count]
    within = np.clip(low + unit * (high - low), coordinates.low, coordinates.high)
    return coordinates.natural(within)


def _levelled(objective: FitObjective, points: Array) -> Array:
    """Points (n, k) in natural units with the law's levels turned into the factors that make them at the table's middle."""
    coordinates, points = objective.coordinates, points.copy()
    for name, (column, power) in objective.law.levels.items():
        slots = [slot for slot, owner in enumerate(coordinates.owners) if owner == name]
        exponent = coordinates.fixed[power] if power in coordinates.fixed else points[:, coordinates.slot(power), None]
        points[:, slots] *= np.exp(exponent * float(objective.columns[column].log().mean()))
    return points


def projected(objective: FitObjective, theta: Tensor, linear: Sequence[int]) -> Tensor:
    """The same points with their linear coordinates at the best values for the others.

    Best in least squares of the relative error (of the error itself where residuals are differences), with positive
    parameters kept positive: every subset of them is tried at zero, which is exact and cheap for the few there are.
    """
    design, offset = _design(objective, theta, linear)
    target = objective.targets[0].exp() if objective.logs else objective.targets[0]
    weight = (objective.weights[0] / (target**2 if objective.logs else 1.0)).sqrt()
    wanted = (target - offset) * weight
    design = (design * weight).nan_to_num(posinf=0.0, neginf=0.0)
    best = torch.full((len(theta),), torch.inf, dtype=torch.float64)
    chosen = torch.zeros(len(theta), len(linear), dtype=torch.float64)
    signed = [position for position, index in enumerate(linear) if bool(objective.logarithmic[index])]
    for zeros in itertools.chain.from_iterable(itertools.combinations(signed, size) for size in range(len(signed) + 1)):
        coefficients = _least_squares(design, wanted.nan_to_num(), [p for p in range(len(linear)) if p not in zeros])
        error = ((coefficients[:, :, None] * design).sum(1) - wanted).square().sum(1)
        better = (coefficients[:, signed] >= 0).all(1) & (error < best)
        best, chosen = torch.where(better, error, best), torch.where(better[:, None], coefficients, chosen)
    smallest = SMALL * wanted.abs().mean(1, keepdim=True) / design.abs().mean(2).clamp(min=1e-300)
    new = theta.clone()
    for position, index in enumerate(linear):
        value = chosen[:, position]
        new[:, index] = torch.maximum(value, smallest[:, position]).log() if position in signed else value
    new = torch.clamp(new, objective.low, objective.high)
    return torch.where(torch.isfinite(new) & torch.isfinite(best)[:, None], new, theta)


def _design(objective: FitObjective, theta: Tensor, linear: Sequence[int]) -> tuple[Tensor, Tensor]:
    """What one unit of each linear parameter adds to the prediction (n, linear, rows), and the prediction without them."""
    natural = torch.as_tensor(objective.coordinates.natural(theta.numpy())).clone()
    natural[:, list(linear)] = 0.0
    offset = objective.predicted(natural)
    columns: list[Tensor] = []
    for index in linear:
        one = natural.clone()
        one[:, index] = 1.0
        columns.append(objective.predicted(one) - offset)
    return torch.stack(columns, 1), offset


def _least_squares(design: Tensor, wanted: Tensor, columns: list[int]) -> Tensor:
    """Coefficients (n, linear) that minimise |design' c - wanted|, zero outside `columns`."""
    full = torch.zeros(design.shape[:2], dtype=torch.float64)
    if columns:
        part = design[:, columns]
        unit = part.norm(dim=2, keepdim=True).clamp(min=1e-300)
        part = part / unit
        gram = part @ part.transpose(1, 2) + 1e-13 * torch.eye(len(columns), dtype=torch.float64)
        solved = torch.linalg.solve_ex(gram, part @ wanted[:, :, None])[0][:, :, 0]
        full[:, columns] = (solved / unit[:, :, 0]).nan_to_num()
    return full
