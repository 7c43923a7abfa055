"""Many small minimisations at once: damped Gauss-Newton down the slope, exact Newton to the bottom.

Idea: with robust losses, Gauss-Newton with the weights of iteratively reweighted least squares goes down safely from
anywhere but creeps at the end; Newton with the exact Hessian ends in a few steps but is lost far away. So every problem
first descends until a step gains little, and then is polished until its gradient vanishes.

Each problem has its own damping and its own verdict; a step is taken only if the exact objective falls; a problem that is
done leaves the batch. Bounds are kept by projection: a coordinate that its bound holds takes no part in the step.
Cost: one backward pass a descending step, k + 1 a polishing one; no loop over problems anywhere.
Source: Levenberg 1944, Marquardt 1963; gain-ratio damping as in Nielsen 1999; projection as in Bertsekas 1982.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pliant.laws.fitting.objective import FitObjective

Evaluate = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]

DESCENT_STEPS, POLISH_STEPS = 100, 120
FIRST_STEPS = 25
"""Polishing steps after which most problems have ended; what still creeps then is worth more only if it may be best."""
DESCENT_GAIN = 3e-3
"""Relative gain of a step below which descending gives way to polishing."""
FLAT = 1e-10
"""Converged: a full Newton step would gain less than this share of the objective."""
LENGTHS, DAMPING_CHANGES = (0.03, 0.2, 1.0, 3.0, 10.0), (3.0, 1.0, 0.1, 0.1, 0.1)
"""Multiples of a Newton step that are tried, and what each being best does to the damping."""
NOTHING = 1e-22
"""Gains below this are rounding, whatever the objective: residuals of 1e-11."""
GIVE_UP = 1e12
"""Damping at which no step, however short, gains anything."""


@dataclass
class Points:
    """Where each problem stands."""

    theta: Tensor
    """(problems, k)"""
    rows: Tensor
    """(problems,): which problem of the objective."""
    value: Tensor
    gradient: Tensor
    curvature: Tensor
    damping: Tensor
    done: Tensor

    def put(self, index: Tensor, other: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
        """New points (theta, value, gradient, curvature) for some problems."""
        self.theta[index], self.value[index], self.gradient[index], self.curvature[index] = other


@dataclass(frozen=True)
class Solution:
    """The end of each problem."""

    theta: Tensor
    value: Tensor
    converged: Tensor
    """Whether the gradient vanished, bounds allowed for."""


def minimise(
    objective: FitObjective, starts: Tensor, rows: Tensor, frozen: Tensor | None = None, *, flat: float = FLAT, steps: int = POLISH_STEPS
) -> Solution:
    """The local minimum below each start. `frozen` (problems, k) marks coordinates that keep their start value."""
    theta, rows, _ = descend(objective, starts, rows, frozen)
    return polish(objective, theta, rows, frozen, flat=flat, steps=steps)


def descend(
    objective: FitObjective, starts: Tensor, rows: Tensor, frozen: Tensor | None = None, *, halve: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Damped Gauss-Newton until a step gains little: (theta, rows, positions) of the problems that are left.

    With `halve` > 0 the problems are starts of one fit, and every eighth step the worse half is let go, down to `halve`.
    """
    kept = torch.arange(len(starts))
    points = _begin(objective.normal, torch.clamp(starts, objective.low, objective.high), rows, damping=1e-2)
    for step in range(DESCENT_STEPS):
        active = torch.nonzero(~points.done)[:, 0]
        if len(active) == 0:
            break
        gain = _step(objective, objective.normal, points, active, frozen)
        points.done[active] |= (gain < DESCENT_GAIN) & (points.damping[active] < 1)
        points.done[active] |= points.damping[active] > GIVE_UP
        if halve and step % 8 == 7 and len(kept) > halve:
            best = torch.argsort(points.value)[: max(halve, len(kept) // 2)]
            kept, points = kept[best], _picked(points, best)
            frozen = None if frozen is None else frozen[best]
    return points.theta, points.rows, kept


def polish(
    objective: FitObjective, theta: Tensor, rows: Tensor, frozen: Tensor | None = None, *, flat: float = FLAT, steps: int = POLISH_STEPS
) -> Solution:
    """Newton with the exact Hessian until a further step would gain less than the share `flat` of the objective."""
    points = _begin(objective.second_order, theta.clone(), rows, damping=1e-4)
    converged = torch.zeros(len(theta), dtype=torch.bool)
    for _ in range(steps):
        active = torch.nonzero(~points.done)[:, 0]
        if len(active) == 0:
            break
        held = _held(objective, points, active, frozen)
        ended = _newton_gain(points, active, held) <= flat * points.value[active].abs() + NOTHING
        converged[active] = ended
        points.done[active] = ended | (points.damping[active] > GIVE_UP)
        active = active[~points.done[active]]
        if len(active):
            _search_step(objective, points, active, frozen)
    return Solution(points.theta, points.value, converged)


def _begin(evaluate: Evaluate, theta: Tensor, rows: Tensor, damping: float) -> Points:
    value, gradient, curvature = evaluate(theta, rows)
    return Points(theta, rows, value, gradient, curvature, torch.full_like(value, damping), torch.isinf(value))


def _picked(points: Points, index: Tensor) -> Points:
    fields = (points.theta, points.rows, points.value, points.gradient, points.curvature, points.damping, points.done)
    return Points(*(field[index] for field in fields))


def _step(objective: FitObjective, evaluate: Evaluate, points: Points, active: Tensor, frozen: Tensor | None) -> Tensor:
    """One damped step of the active problems where it lowers the objective; the relative gain (infinite where refused)."""
    held = _held(objective, points, active, frozen)
    theta, value = points.theta[active], points.value[active]
    step, promised = _damped(points, active, held)
    trial = torch.clamp(theta + step, objective.low, objective.high)
    new = evaluate(trial, points.rows[active])
    gain = value - new[0]
    taken = gain > 0
    ratio = gain / promised.clamp(min=1e-300)
    damping = points.damping[active]
    shrink = torch.where(ratio > 0.75, 0.1, torch.where(ratio > 0.25, 0.5, 2.0))
    points.damping[active] = torch.where(taken, damping * shrink, damping * 6).clamp(min=1e-12)
    points.put(active[taken], (trial[taken], new[0][taken], new[1][taken], new[2][taken]))
    return torch.where(taken, gain / value.abs().clamp(min=1e-300), torch.inf)


def _search_step(objective: FitObjective, points: Points, active: Tensor, frozen: Tensor | None) -> None:
    """The best of several lengths along the Newton direction, where any lowers the objective.

    Values cost a tenth of what second derivatives do, and where the corners of the loss lie close together the model is
    right about the direction but not about the length.
    """
    theta, rows = points.theta[active], points.rows[active]
    step, _ = _damped(points, active, _held(objective, points, active, frozen))
    lengths = torch.tensor(LENGTHS, dtype=torch.float64)
    trials = torch.clamp(theta + lengths[:, None, None] * step, objective.low, objective.high)
    values = objective.values(trials.reshape(-1, theta.shape[1]), rows.repeat(len(lengths))).reshape(len(lengths), -1)
    lowest, best = values.min(dim=0)
    taken = lowest < points.value[active]
    change = torch.where(taken, torch.tensor(DAMPING_CHANGES, dtype=torch.float64)[best], 6.0)
    points.damping[active] = (points.damping[active] * change).clamp(min=1e-12)
    moved = active[taken]
    if len(moved):
        new = trials[best, torch.arange(len(active))][taken]
        points.put(moved, (new, *objective.second_order(new, points.rows[moved])))


def _held(objective: FitObjective, points: Points, active: Tensor, frozen: Tensor | None) -> Tensor:
    """Coordinates that take no part in a step: frozen ones, and those that the slope presses against their bound."""
    theta, gradient = points.theta[active], points.gradient[active]
    held = ((theta <= objective.low) & (gradient > 0)) | ((theta >= objective.high) & (gradient < 0))
    return held if frozen is None else held | frozen[active]


def _scaled(points: Points, active: Tensor, held: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Eigenvalues and vectors of the curvature, and the gradient, in units in which every coordinate curves alike."""
    moving = (~held).to(torch.float64)
    curvature = points.curvature[active] * moving[:, :, None] * moving[:, None, :]
    diagonal = torch.diagonal(curvature, dim1=1, dim2=2).abs()
    unit = diagonal.clamp(min=1e-14 * diagonal.amax(1, keepdim=True) + 1e-300).sqrt()
    values, vectors = torch.linalg.eigh(curvature / unit[:, :, None] / unit[:, None, :])
    slope = (vectors.transpose(1, 2) @ (points.gradient[active] * moving / unit)[:, :, None])[:, :, 0]
    return values, vectors, slope, unit


def _damped(points: Points, active: Tensor, held: Tensor) -> tuple[Tensor, Tensor]:
    """The step that minimises the model with its curvature made positive and damped, and the gain the model promises."""
    values, vectors, slope, unit = _scaled(points, active, held)
    along = -slope / (values.abs() + points.damping[active, None] + 1e-14)
    promised = -(slope * along + values.abs() * along**2 / 2).sum(1)
    return (vectors @ along[:, :, None])[:, :, 0] / unit, promised


def _newton_gain(points: Points, active: Tensor, held: Tensor) -> Tensor:
    """What an undamped step would gain, counting only directions that the data determine at all."""
    values, _, slope, _ = _scaled(points, active, held)
    determined = values.abs() > 1e-13 * values.abs().amax(1, keepdim=True)
    return torch.where(determined, slope**2 / (2 * values.abs().clamp(min=1e-300)), 0.0).sum(1)
