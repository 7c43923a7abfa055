"""A fitted law as plain values, and what follows from them: parameters, predictions, residuals, intervals.

What can be done with it beyond (a summary, a profile, a file) are functions of other files; `result.Fit` has them as methods.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pliant.errors import PliantError
from pliant.laws.fitting.audit import Audit
from pliant.laws.fitting.coordinates import Coordinates
from pliant.laws.fitting.identify import Unidentifiable
from pliant.laws.fitting.resample import Bootstrap, error_sizes
from pliant.laws.fitting.robust import RobustLoss
from pliant.laws.law import Array, Law
from pliant.spec import nearest

if TYPE_CHECKING:
    from pliant.laws.fitting.objective import FitObjective

Range = tuple[float | None, float | None]


@dataclass(frozen=True)
class FitOptions:
    """What the user asked for, beyond the law's own declaration."""

    fix: dict[str, float | None] = field(default_factory=dict[str, "float | None"])
    tie: dict[str, str | None] = field(default_factory=dict[str, "str | None"])
    bounds: dict[str, Range] = field(default_factory=dict[str, Range])
    priors: dict[str, tuple[float, float]] = field(default_factory=dict[str, tuple[float, float]])
    by: dict[str, str] = field(default_factory=dict[str, str])
    clusters: str | None = None


@dataclass(frozen=True)
class Restarts:
    """How many starts the search made, and how they ended."""

    tried: int
    reached_best: int
    let_go: int
    """Restarts given up on the way, as hopeless."""
    converged: bool
    """Whether the best point is a minimum."""


@dataclass(frozen=True, repr=False)
class FittedLaw:
    """A law fitted to a table. Parameters are in natural units; `theta` and `bootstrap_samples` are the fitter's own coordinates."""

    law: Law
    columns: dict[str, Array]
    target: Array
    texts: dict[str, NDArray[np.str_]]
    options: FitOptions
    coordinates: Coordinates
    loss: RobustLoss
    residual: str
    """`log`: residuals are log(measured) - log(predicted); `difference`: measured - predicted."""
    theta: Array
    bootstrap_samples: Array
    """The optimum of every bootstrap sample, (samples, k)."""
    bootstrap: Bootstrap
    objective: float
    """Mean of the robust loss over the rows."""
    noise: float
    """Standard deviation of one run's error on the residual's scale."""
    penalty: tuple[Array, Array] | None
    """The priors as a penalty: centre and strength per coordinate."""
    restarts: Restarts
    unidentifiable: Unidentifiable
    audit: Audit
    remarks: tuple[str, ...]

    @cached_property
    def parameters(self) -> dict[str, float]:
        """Every parameter at the optimum in the law's order, fixed and tied ones too; one per group where it is split."""
        return {name: float(values) for name, values in self._named(self.theta).items()}

    @cached_property
    def resamples(self) -> dict[str, Array]:
        """The same under every bootstrap sample, shape (samples,)."""
        return self._named(self.bootstrap_samples)

    def _named(self, theta: Array) -> dict[str, Array]:
        moved, natural = self.coordinates, self.coordinates.natural(theta)
        named: dict[str, Array] = {}
        for parameter in self.law.parameter_names:
            if parameter in moved.fixed:
                named[parameter] = np.full(theta.shape[:-1], moved.fixed[parameter])
            elif parameter not in moved.tied:
                named |= {name: natural[..., i] for i, name in enumerate(moved.names) if moved.owners[i] == parameter}
            elif moved.tied[parameter] not in moved.by:
                named[parameter] = natural[..., moved.slot(parameter)]
        return named

    def predict(self, columns: Mapping[str, Any] | None = None, *, resamples: bool = False) -> Array:
        """Predictions in the law's unit at the table's rows or at other columns, (rows,); under each bootstrap sample, (samples, rows).

        `columns` holds the law's columns under their own names, as numbers or arrays, and those that parameters are split by.
        """
        given, groups = self._split_columns(columns)
        natural = self.coordinates.natural(self._sampled() if resamples else self.theta[None])
        predicted = self.law(given, self.coordinates.values(self.law, natural, groups))
        rows = max((np.size(values) for values in given.values()), default=1)
        predicted = np.broadcast_to(predicted, (len(natural), rows))
        return np.array(predicted if resamples else predicted[0])

    def interval(self, what: str | Mapping[str, Any] | None = None, confidence: float = 0.9, *, noise: bool = False) -> tuple[Any, Any]:
        """Percentiles of the bootstrap samples: of a parameter (two numbers), or of predictions at columns (two arrays).

        With `noise` the interval is for one more run's measured value, not for the law's. NaN for what the data do not determine.
        Raises PliantError without bootstrap samples.
        """
        ends = [(1 - confidence) / 2, (1 + confidence) / 2]
        if isinstance(what, str):
            if what not in self.resamples:
                raise PliantError(f"no parameter {what!r}; {nearest(what, self.resamples)}")
            self._sampled()
            if self.undetermined(what):
                return np.nan, np.nan
            low, high = np.quantile(self.resamples[what], ends)
            return float(low), float(high)
        predicted = self.predict(what, resamples=True)
        if noise:
            generator = np.random.default_rng(0)
            sizes = error_sizes(self.residuals(), len(self.theta), self.loss.corner)
            error = generator.choice(sizes, predicted.shape) * generator.choice([-1.0, 1.0], predicted.shape)
            predicted = predicted * np.exp(error) if self.residual == "log" else predicted + error
        low, high = np.quantile(predicted, ends, axis=0)
        return low, high

    def residuals(self) -> Array:
        """log(measured) - log(predicted), or measured - predicted, of the table's rows."""
        predicted = self.predict()
        return np.log(self.target) - np.log(predicted) if self.residual == "log" else self.target - predicted

    def problem(self) -> FitObjective:
        """The objective that was minimised, to evaluate or refit it."""
        from pliant.laws.fitting.objective import FitObjective, penalty

        targets, weights = self.target[None], np.ones((1, len(self.target)))
        moved, prior = self.coordinates, penalty(*self.penalty) if self.penalty else None
        return FitObjective(self.law, self.columns, self.texts, moved, self.loss, self.residual, targets, weights, prior)

    def undetermined(self, name: str) -> bool:
        """Whether the data leave a parameter without a value."""
        return self.coordinates.tied.get(name, name) in self.unidentifiable.parameters

    # --- pieces

    def _sampled(self) -> Array:
        if not len(self.bootstrap_samples):
            raise PliantError("this fit has no bootstrap samples, so no intervals; fit with bootstrap=400")
        return self.bootstrap_samples

    def _split_columns(self, columns: Mapping[str, Any] | None) -> tuple[dict[str, Any], dict[str, NDArray[np.str_]]]:
        if columns is None:
            return dict(self.columns), self.texts
        names = set(self.coordinates.by.values()) - set(self.law.column_names)
        numbers = {name: np.atleast_1d(np.asarray(values, dtype=np.float64)) for name, values in columns.items() if name not in names}
        words = {name: np.atleast_1d(np.asarray(columns[name], dtype=np.str_)) for name in names if name in columns}
        rows = max((len(values) for values in [*numbers.values(), *words.values()]), default=1)
        return (
            {name: np.broadcast_to(values, rows) for name, values in numbers.items()},
            {name: np.broadcast_to(values, rows) for name, values in words.items()},
        )
