"""The objective of many fits at once: the mean robust loss of each, its gradient and curvature, in torch float64.

Every function takes points theta of shape (problems, k) and `rows`, which says which problem each is: problems may differ
in their targets and weights (bootstrap samples, folds), never in their columns.

Jacobians come from the law itself. A row's prediction depends on that row alone, so the gradient of the sum of predictions
with respect to parameters spread out to (problems, rows) IS the Jacobian: one backward pass whatever the number of
parameters, where forward mode needs one pass per parameter. Work is done in pieces that stay in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pliant.laws.fitting.coordinates import Coordinates
from pliant.laws.fitting.robust import RobustLoss
from pliant.laws.law import Array, Law

PIECE = 65536
"""Numbers per temporary array: 512 kB, which the second cache holds."""


@dataclass(frozen=True)
class Prior:
    """A Gaussian prior on the coordinates as a penalty on the mean loss: sum of strength (theta - centre)^2 / 2."""

    centre: Tensor
    """(problems, k), or (1, k) when all share it."""
    strength: Tensor
    """(k,); zero for coordinates without a prior."""


def penalty(centre: Array, strength: Array) -> Prior:
    """One prior for all problems, from centre and strength per coordinate."""
    return Prior(torch.as_tensor(centre, dtype=torch.float64)[None], torch.as_tensor(strength, dtype=torch.float64))


class FitObjective:
    """F(theta) = sum over rows of weight rho(residual) + prior, the weights of a problem summing to one.

    `targets` has shape (problems, rows), or (1, rows) when all share it; so have `weights`.
    """

    def __init__(
        self,
        law: Law,
        columns: Mapping[str, Array],
        groups: Mapping[str, NDArray[np.str_]],
        coordinates: Coordinates,
        loss: RobustLoss,
        residual: str,
        targets: Array,
        weights: Array,
        prior: Prior | None = None,
    ) -> None:
        self.law, self.coordinates, self.loss, self.logs, self.prior = law, coordinates, loss, residual == "log", prior
        self.columns = {name: torch.tensor(values, dtype=torch.float64) for name, values in columns.items()}
        self.targets = torch.tensor(np.log(targets) if self.logs else targets, dtype=torch.float64)
        self.weights = torch.tensor(weights / weights.sum(axis=1, keepdims=True), dtype=torch.float64)
        self.logarithmic = torch.as_tensor(coordinates.logarithmic)
        self.low, self.high = torch.as_tensor(coordinates.low), torch.as_tensor(coordinates.high)
        self._groups = groups
        self._skips = bool((self.weights == 0).any())
        self._fixed = {name: torch.tensor(value, dtype=torch.float64) for name, value in coordinates.fixed.items()}
        self._free: list[tuple[str, int, Tensor | None]] = []
        for name in law.parameter_names:
            if name not in coordinates.fixed:
                group = coordinates.group_of(name, groups)
                self._free.append((name, coordinates.slot(name), None if group is None else torch.as_tensor(group)))

    @property
    def size(self) -> int:
        """Rows of the table."""
        return self.targets.shape[1]

    def varied(self, targets: Array | None = None, weights: Array | None = None, prior: Prior | None = None) -> FitObjective:
        """The same fit of other targets (in the law's unit) or weights, each (problems, rows)."""
        kept = self.targets.exp() if self.logs else self.targets
        return FitObjective(
            self.law,
            {name: values.numpy() for name, values in self.columns.items()},
            self._groups,
            self.coordinates,
            self.loss,
            "log" if self.logs else "difference",
            kept.numpy() if targets is None else targets,
            self.weights.numpy() if weights is None else weights,
            prior or self.prior,
        )

    def values(self, theta: Tensor, rows: Tensor, *, prior: bool = True) -> Tensor:
        """F, shape (problems,), with or without its prior; infinite where the law has no value."""
        out = torch.empty(len(theta), dtype=torch.float64)
        for piece in self._pieces(len(theta)):
            residual = self._target(rows[piece]) - self.fitted(theta[piece])
            out[piece] = self._mean(residual, self._weight(rows[piece]))
        if prior and self.prior is not None:
            out += (self.prior.strength * self._off_centre(theta, rows, self.prior) ** 2).sum(1) / 2
        return _finite(out)

    def fitted(self, theta: Tensor) -> Tensor:
        """The law's prediction on the residual's scale (its logarithm, or itself), shape (problems, rows)."""
        prediction = self.predicted(self._natural(theta))
        return torch.log(prediction) if self.logs else prediction

    def predicted(self, natural: Tensor) -> Tensor:
        """The law's prediction in its unit, (problems, rows), from parameters in natural units (problems, k)."""
        arguments = {name: natural[:, slot, None] if group is None else natural[:, slot + group] for name, slot, group in self._free}
        return self.law.function(**self.columns, **self._fixed, **arguments).expand(len(natural), self.size)

    def jacobian(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """`fitted` and its derivative with respect to the coordinates, (problems, rows) and (problems, k, rows)."""
        natural = self._natural(theta)
        fitted, jacobian = self._natural_jacobian(natural)
        return fitted, jacobian * self._slope_of_natural(natural)[:, :, None]

    def normal(self, theta: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """F, its gradient (problems, k), and J' W J with the weights of iteratively reweighted least squares.

        That matrix is the curvature of a parabola that lies above the robust loss, so it never promises too much.
        """
        k = len(self.coordinates)
        values = torch.empty(len(theta), dtype=torch.float64)
        gradient, curvature = torch.empty(len(theta), k, dtype=torch.float64), torch.empty(len(theta), k, k, dtype=torch.float64)
        natural = self._natural(theta)
        for piece in self._pieces(len(theta)):
            fitted, jacobian = self._natural_jacobian(natural[piece])
            residual, weight = self._target(rows[piece]) - fitted, self._weight(rows[piece])
            values[piece] = self._mean(residual, weight)
            gradient[piece] = -torch.bmm(jacobian, (weight * self.loss.slope(residual))[:, :, None])[:, :, 0]
            weighted = jacobian * (weight * self.loss.weight(residual))[:, None, :]
            torch.bmm(weighted, jacobian.transpose(1, 2), out=curvature[piece])
        slope = self._slope_of_natural(natural)
        return self._with_prior(theta, rows, values, gradient * slope, curvature * slope[:, :, None] * slope[:, None, :])

    def second_order(self, theta: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """F, its gradient and its exact Hessian (problems, k, k), by differentiating twice."""
        k = len(self.coordinates)
        values = torch.empty(len(theta), dtype=torch.float64)
        gradients, hessian = torch.empty(len(theta), k, dtype=torch.float64), torch.empty(len(theta), k, k, dtype=torch.float64)
        for piece in self._pieces(len(theta)):
            point = theta[piece].detach().requires_grad_()
            with torch.enable_grad():
                residual = self._target(rows[piece]) - self.fitted(point)
                value = self._mean(residual, self._weight(rows[piece]))
                (gradient,) = torch.autograd.grad(value.sum(), point, create_graph=True)
                for j in range(k):
                    (row,) = torch.autograd.grad(gradient[:, j].sum(), point, retain_graph=True, allow_unused=True, materialize_grads=True)
                    hessian[piece, j] = row
            values[piece], gradients[piece] = value.detach(), gradient.detach()
        return self._with_prior(theta, rows, values, gradients, hessian)

    # --- pieces of the above

    def _pieces(self, problems: int) -> Iterator[slice]:
        size = max(1, PIECE // self.size)
        return (slice(start, min(start + size, problems)) for start in range(0, problems, size))

    def _target(self, rows: Tensor) -> Tensor:
        return self.targets if len(self.targets) == 1 else self.targets[rows]

    def _weight(self, rows: Tensor) -> Tensor:
        return self.weights if len(self.weights) == 1 else self.weights[rows]

    def _natural(self, theta: Tensor) -> Tensor:
        return torch.where(self.logarithmic, torch.exp(torch.where(self.logarithmic, theta, 0.0)), theta)

    def _slope_of_natural(self, natural: Tensor) -> Tensor:
        """d natural / d coordinate."""
        return torch.where(self.logarithmic, natural, 1.0)

    def _natural_jacobian(self, natural: Tensor) -> tuple[Tensor, Tensor]:
        """`fitted` and its derivative with respect to the parameters in natural units."""
        leaves = {name: self._rows_of(natural, slot, group).detach().requires_grad_() for name, slot, group in self._free}
        with torch.enable_grad():
            prediction = self.law.function(**self.columns, **self._fixed, **leaves).expand(len(natural), self.size)
            seeds = torch.ones_like(prediction)
            gradients = torch.autograd.grad(prediction, list(leaves.values()), seeds, allow_unused=True, materialize_grads=True)
        prediction = prediction.detach()
        factor = 1 / prediction if self.logs else seeds
        jacobian = torch.zeros(len(natural), len(self.coordinates), self.size, dtype=torch.float64)
        for (_, slot, group), gradient in zip(self._free, gradients, strict=True):
            if group is None:
                jacobian[:, slot].addcmul_(gradient, factor)
            else:
                jacobian[:, slot + group, torch.arange(self.size)] += gradient * factor
        if self._skips:  # a row that does not count may have no value
            jacobian.nan_to_num_(posinf=0.0, neginf=0.0)
        return (torch.log(prediction) if self.logs else prediction), jacobian

    def _rows_of(self, natural: Tensor, slot: int, group: Tensor | None) -> Tensor:
        return natural[:, slot, None].expand(-1, self.size) if group is None else natural[:, slot + group]

    def _mean(self, residual: Tensor, weight: Tensor) -> Tensor:
        loss = weight * self.loss.value(residual)
        return (loss.masked_fill(weight == 0, 0.0) if self._skips else loss).sum(1)

    def _off_centre(self, theta: Tensor, rows: Tensor, prior: Prior) -> Tensor:
        return theta - (prior.centre if len(prior.centre) == 1 else prior.centre[rows])

    def _with_prior(
        self, theta: Tensor, rows: Tensor, values: Tensor, gradient: Tensor, curvature: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        if self.prior is not None:
            off = self._off_centre(theta, rows, self.prior)
            values = values + (self.prior.strength * off**2).sum(1) / 2
            gradient = gradient + self.prior.strength * off
            curvature = curvature + torch.diag(self.prior.strength)
        return _finite(values), gradient.nan_to_num(), curvature.nan_to_num()


def _finite(values: Tensor) -> Tensor:
    return values.nan_to_num(nan=torch.inf, posinf=torch.inf)
