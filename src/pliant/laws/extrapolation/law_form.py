"""Any other law as a form to extrapolate with: its own formula, refitted with weights towards the target.

For laws that read more than sizes and tokens (bits, unique tokens, a loss) no general form is known to hold better. The
priors are as wide as a parameter's own scale around the classic fit, so that refits to few rows stay near it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pliant.laws.law import Array

if TYPE_CHECKING:
    from pliant.laws.fitting.fitted import FittedLaw

WIDE = 2.0
"""Standard deviation of the prior on a logarithm; other coordinates have a quarter of it, or of their value."""


class LawForm:
    """A fitted law's formula; its rows are the law's columns and, as numbers, the groups that parameters are split by."""

    def __init__(self, fit: FittedLaw) -> None:
        self.fit = fit
        self.groups = sorted(set(fit.coordinates.by.values()))
        self.values = {name: np.unique(fit.texts[name]) for name in self.groups}
        self.centre = fit.theta
        size = np.where(fit.coordinates.logarithmic, 1.0, np.maximum(np.abs(fit.theta), 0.5) / 4)
        self.deviation = WIDE * size
        self.starts = fit.theta[None]

    def rows(self, columns: dict[str, Array], texts: dict[str, NDArray[np.str_]]) -> Array:
        """The columns of this form, (rows, columns). Groups must be ones that were fitted."""
        numbers: Sequence[Array] = [columns[name] for name in self.fit.law.column_names]
        codes = [np.searchsorted(self.values[name], texts[name]).astype(np.float64) for name in self.groups]
        return np.stack([*numbers, *codes], axis=1)

    def __call__(self, theta: Array, rows: Array) -> tuple[Array, Array]:
        """Values (points, rows) and Jacobians (points, rows, k) on the residual's scale; flat beyond a bound."""
        import torch

        from pliant.laws.fitting.objective import FitObjective

        fit, count = self.fit, len(self.fit.law.column_names)
        columns = {name: rows[:, index] for index, name in enumerate(fit.law.column_names)}
        texts = {name: self.values[name][rows[:, count + index].astype(int)] for index, name in enumerate(self.groups)}
        ones = np.ones((1, len(rows)))
        objective = FitObjective(fit.law, columns, texts, fit.coordinates, fit.loss, fit.residual, ones, ones)
        inside = np.clip(theta, fit.coordinates.low, fit.coordinates.high)
        value, jacobian = objective.jacobian(torch.as_tensor(inside))
        held = (inside != theta)[:, None, :]
        return value.numpy(), np.where(held, 0.0, jacobian.numpy().transpose(0, 2, 1))
