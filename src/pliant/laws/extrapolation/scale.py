"""How far extrapolations are off: a distribution of the error, learned from other tables and from this table's own past.

    error ~ Student-t(nu) * sqrt( (c noise)^2 + (c v)^2 + (f G)^2 ),   G = exp(b0 + b1 log u + b2 log(x + 1/2))

`noise` is one run's (with the spread between models where the model is new), v the standard error from the fit's own
parameters, u the target's leverage and that spread, x = log(target's compute / largest fitted compute). The last part is
the form's: no formula is the truth, and its share grows with the distance. f says how wrong the form is on this table. It
has a log-normal prior, learned as the constants are, and is updated by rolling origins: refits to smaller runs of this
table, each of which predicts all larger ones. Where a law holds exactly f falls, and noise and parameters are left.
Source: our own study; `bench/extrapolation.py` learns the constants (maximum likelihood, every origin of tables weighing the
same) and measures each table with constants that were learned without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pliant.laws.law import Array

LEAST = 0.002
"""Added to the parameters' standard error, for the form's part: priors alone can make it vanish."""
WRONGNESS = np.linspace(-3.5, 2.5, 25)
"""Logarithms of f that are weighed against each other."""


class Errors(NamedTuple):
    """Extrapolations and what was known of them beforehand, (rows,) each; on the residual's scale."""

    error: Array
    """Measured - predicted; NaN where nothing was measured."""
    noise: Array
    """Standard deviation of one run, with the spread between models where the model is new."""
    parameters: Array
    """Standard error of the prediction from the fit's parameters."""
    leverage: Array
    """The same were the weights precisions: how little the fit is held near the target."""
    model: Array
    """The spread between models where the model is new, else 0."""
    distance: Array
    """x, never below 0."""


@dataclass(frozen=True)
class ErrorScale:
    """The learned constants."""

    level: float = -2.641
    power: float = 0.842
    growth: float = 0.536
    spread: float = 0.63
    """Standard deviation of log f between tables."""
    weight: float = 1.113
    """Independent errors that one rolling origin is worth."""
    freedom: float = 5.894
    """Degrees of freedom of the Student-t."""
    shrink: float = 0.919
    """c above."""

    def own(self, errors: Errors) -> Array:
        """Variance by noise and parameters, (rows,)."""
        return self.shrink**2 * (errors.noise**2 + errors.parameters**2)

    def form(self, errors: Errors) -> Array:
        """G, (rows,)."""
        u = np.sqrt((errors.leverage + LEAST) ** 2 + errors.model**2)
        return np.exp(self.level + self.power * np.log(u) + self.growth * np.log(errors.distance + 0.5))

    def scales(self, errors: Errors) -> Array:
        """The error's scale under each f, (rows, f)."""
        return np.sqrt(self.own(errors)[:, None] + (np.exp(WRONGNESS) * self.form(errors)[:, None]) ** 2)

    def log_density(self, errors: Errors) -> Array:
        """Of the errors under each f, up to a constant, (rows, f)."""
        scales = self.scales(errors)
        return -np.log(scales) - (self.freedom + 1) / 2 * np.log1p((errors.error[:, None] / scales) ** 2 / self.freedom)

    def posterior(self, past: list[Errors]) -> Array:
        """How probable each f is after rolling origins; the prior without any."""
        logs = -0.5 * (WRONGNESS / self.spread) ** 2
        for errors in past:
            logs = logs + self.weight * self.log_density(errors).mean(axis=0)
        weights = np.exp(logs - logs.max())
        return weights / weights.sum()

    def half_width(self, errors: Errors, posterior: Array, confidence: float) -> Array:
        """The distance from the prediction that errors stay within with this probability, (rows,)."""
        from scipy import stats

        scales = self.scales(errors)
        low, high = np.zeros(len(scales)), scales[:, -1] * stats.t.ppf((1 + confidence) / 2, self.freedom)
        for _ in range(40):
            middle = (low + high) / 2
            within = (2 * stats.t.cdf(middle[:, None] / scales, self.freedom) - 1) @ posterior
            low, high = np.where(within < confidence, middle, low), np.where(within < confidence, high, middle)
        return high

    def shares(self, errors: Errors, posterior: Array) -> dict[str, Array]:
        """Of the error's variance, what noise, parameters and form each make."""
        form = (np.exp(2 * WRONGNESS) @ posterior) * self.form(errors) ** 2
        noise, parameters = self.shrink**2 * errors.noise**2, self.shrink**2 * errors.parameters**2
        total = noise + parameters + form
        return {"noise": noise / total, "parameters": parameters / total, "form": form / total}


LEARNED = ErrorScale()
