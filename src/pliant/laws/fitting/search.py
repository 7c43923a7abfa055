"""The global search: from many starts to the best minimum, and how sure we are that there is no better one.

All starts descend together; every eighth step the worse half is let go, down to 64. The rest is polished. When fewer than
a tenth of those agree on the best, the landscape is rough: new starts are scattered around the best found, round after
round, until two rounds bring nothing.
Cost: Chinchilla's form on 240 rows takes a tenth of a second.
What goes wrong: nothing proves a global minimum. `reached` is the evidence; one start out of many is weak evidence.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pliant.laws.fitting.newton import FIRST_STEPS, NOTHING, Solution, descend, minimise, polish
from pliant.laws.fitting.objective import FitObjective
from pliant.laws.fitting.start import StartingPoints, linear_coordinates, projected

SURVIVORS = 64
SAME = 1e-6
"""Objectives within this share of the best are the best."""
TIED = 1e-10
"""Objectives within this share of each other may stand for each other."""
FAINT = 25.0
"""A positive parameter is sent down by so many logarithms where its best value is zero: its term is then nothing."""
ROUGH = 0.1
"""Fraction of the polished starts that should agree on the best."""
ROUNDS = 12
FAR_APART = 5.0
"""Spread of a coordinate among equally good ends beyond which it has no one value: a factor e^5, as in `identify`."""
RIVAL = 1.1
"""Other minima up to this multiple of the best objective are kept as starts for refits."""


@dataclass(frozen=True)
class Search:
    """What a search over starts found."""

    theta: Tensor
    """(k,): the best point."""
    begin: Tensor
    """(k,): where bootstrap samples begin: the best point, before parameters whose best value is zero were sent there."""
    value: float
    converged: bool
    """Whether the best point is a minimum; if not, the objective still falls towards infinity, ever more slowly."""
    tried: int
    reached: int
    """How many of the starts ended at the best objective; those let go on the way are not among them."""
    let_go: int
    equals: Tensor
    """(m, k): every end at the best objective, the best point first."""
    rows: Tensor
    """(1,): the only problem's number, to evaluate the objective at theta."""
    ends: Tensor
    """(ends, k): where every start that was followed ended, and their objectives, (ends,)."""
    values: Tensor
    rivals: Tensor
    """(m, k): the best point first, then clearly different minima nearly as good."""


def search(objective: FitObjective, points: StartingPoints, seed: int) -> Search:
    """The best minimum that the starts lead to, and around it."""
    rows = torch.zeros(len(points.theta), dtype=torch.long)
    theta, rows, kept = descend(objective, points.theta, rows, halve=SURVIVORS)
    ends = _polished(objective, theta, rows)
    counts = points.counts[kept]
    theta, value, converged = ends.theta, ends.value, ends.converged
    tried, let_go = points.tried, points.tried - int(counts.sum())
    generator = torch.Generator().manual_seed(seed)
    idle = 0
    for step in range(ROUNDS):
        same = _same(value, value.min())
        if idle >= 2 or (idle == 0 and same.sum() >= ROUGH * len(value) and bool(converged[value.argmin()])):
            break
        before = value.min()
        more = _polished(objective, *_around(objective, theta[value.argmin()], 2.0 ** -(step % 4), generator))
        theta, value = torch.cat([theta, more.theta]), torch.cat([value, more.value])
        converged = torch.cat([converged, more.converged])
        counts = torch.cat([counts, torch.ones(len(more.value), dtype=torch.long)])
        tried += SURVIVORS
        let_go += SURVIVORS - len(more.value)
        idle = idle + 1 if _same(before, value.min()) else 0
    best = _representative(objective, theta, value)
    reached = int(counts[_same(value, value.min())].sum())
    final = Solution(theta[best], value[best], converged[best])
    if not final.converged:
        final = emptied(objective, final)
    equals = torch.cat([final.theta[None], theta[_same(value, value.min())]])
    rivals = _rivals(theta, value)
    return Search(
        final.theta, theta[best], float(final.value), bool(final.converged), tried, reached, let_go, equals, rows[:1], theta, value, rivals
    )


def _representative(objective: FitObjective, theta: Tensor, value: Tensor) -> int:
    """The best end; where ends that are equally good lie far apart (a flat valley), the least extreme of them."""
    equal = torch.nonzero(_same(value, value.min(), TIED))[:, 0]
    if bool((spread(objective, theta[equal]) < FAR_APART).all()):
        return int(value.argmin())
    return int(equal[theta[equal].square().sum(1).argmin()])


def spread(objective: FitObjective, theta: Tensor) -> Tensor:
    """How far points (m, k) lie apart in each coordinate: in logarithms, or relative to the value."""
    unit = torch.where(objective.logarithmic, torch.ones(()), theta.abs().amin(0).clamp(min=0.1))
    return (theta.amax(0) - theta.amin(0)) / unit


def emptied(objective: FitObjective, point: Solution) -> Solution:
    """A point with those positive parameters at (almost) zero whose absence makes it better, the others following.

    On a logarithmic scale such a parameter creeps towards minus infinity, and the objective falls for ever.
    """
    positive = torch.nonzero(objective.logarithmic)[:, 0]
    empty = torch.zeros(len(point.theta), dtype=torch.bool)
    for _ in range(len(positive)):
        left = positive[~empty[positive]]
        starts, frozen = point.theta.repeat(len(left), 1), empty.repeat(len(left), 1)
        each = torch.arange(len(left))
        starts[each, left] -= FAINT
        frozen[each, left] = True
        ends = minimise(objective, starts, torch.zeros(len(left), dtype=torch.long), frozen)
        if not ends.value.min() < point.value * (1 - TIED):
            break
        best = int(ends.value.argmin())
        empty[left[best]] = True
        point = Solution(ends.theta[best], ends.value[best], ends.converged[best])
    return point


def _same(value: Tensor, best: Tensor, tolerance: float = SAME) -> Tensor:
    return value <= best * (1 + tolerance) + NOTHING


def _polished(objective: FitObjective, theta: Tensor, rows: Tensor) -> Solution:
    """Polish all for some steps; of those that still creep then, go on with the ones that may yet be best."""
    ends = polish(objective, theta, rows, steps=FIRST_STEPS)
    creeping = torch.nonzero(~ends.converged & (ends.value <= ends.value.min() * RIVAL))[:, 0]
    if len(creeping):
        more = polish(objective, ends.theta[creeping], rows[creeping])
        ends.theta[creeping], ends.value[creeping], ends.converged[creeping] = more.theta, more.value, more.converged
    return ends


def _around(objective: FitObjective, centre: Tensor, width: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Starts scattered around a point, descended."""
    noise = torch.randn(SURVIVORS, len(centre), generator=generator, dtype=torch.float64)
    unit = torch.where(objective.logarithmic, torch.ones(()), centre.abs().clamp(min=0.1))
    theta = torch.clamp(centre + width * noise * unit, objective.low, objective.high)
    if linear := linear_coordinates(objective.law, objective.coordinates):
        theta = projected(objective, theta, linear)
    theta, rows, _ = descend(objective, theta, torch.zeros(SURVIVORS, dtype=torch.long), halve=SURVIVORS // 2)
    return theta, rows


def _rivals(theta: Tensor, value: Tensor, most: int = 4) -> Tensor:
    """Distinct minima, best first: their objectives differ visibly, so they are different points."""
    chosen: list[int] = []
    for index in torch.argsort(value).tolist():
        if not value[index] <= value.min() * RIVAL or len(chosen) == most:
            break
        if all(abs(float(value[index] / value[other]) - 1) > 1e-3 for other in chosen):
            chosen.append(index)
    return theta[chosen]
