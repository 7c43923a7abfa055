"""A fitted law as a decision sees it: its best parameters, its resamples, and the runs behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pliant.errors import PliantError
from pliant.laws import Law
from pliant.statistics import Array


@dataclass(frozen=True)
class Draws:
    """One fit: draw 0 is the fit itself, the others are its resamples."""

    law: Law
    parameters: Mapping[str, Array]
    """By name, each of shape (draws, 1)."""
    measured: Mapping[str, Array]
    """The columns of the runs that were fitted."""
    noise: float
    """Standard deviation of one run around the law, on the scale of the law's residual (relative for `log`)."""
    audit: Mapping[str, object]
    """The held-out audit as the fit reports it: held_out, error, verdict."""

    def __len__(self) -> int:
        return len(next(iter(self.parameters.values())))

    def predict(self, columns: Mapping[str, float | Array]) -> Array:
        """(draws, points) for columns of shape (), (1, points) or (draws, points). Columns the law does not read are ignored."""
        known = {name: values for name, values in columns.items() if name in self.law.column_names}
        missing = [column.name for column in self.law.columns if column.name not in known and column.default is None]
        if missing:
            raise PliantError(f"law {self.law.name} needs a value of {missing[0]!r}; give it as {missing[0]}=VALUE")
        return np.atleast_2d(self.law(known, self.parameters))

    def range(self, column: str) -> tuple[float, float]:
        """The smallest and largest value of a column among the fitted runs."""
        return float(self.measured[column].min()), float(self.measured[column].max())


def paired(fits: Sequence[Draws], seed: int = 0) -> list[Draws]:
    """The fits with equally many draws: their resamples combined at random, since each was resampled on its own."""
    count = max(len(fit) for fit in fits)
    generator = np.random.default_rng(seed)
    result: list[Draws] = []
    for fit in fits:
        spare = np.arange(1, len(fit)) if len(fit) > 1 else np.zeros(1, dtype=int)
        order = np.concatenate([[0], generator.permutation(np.resize(spare, count - 1))])
        parameters = {name: values[order] for name, values in fit.parameters.items()}
        result.append(Draws(fit.law, parameters, fit.measured, fit.noise, fit.audit))
    return result


def total(fits: Sequence[Draws], columns: Mapping[str, float | Array]) -> Array:
    """The sum of the fits' predictions, (draws, points): base loss plus the rises of the changes to come."""
    return np.sum(np.broadcast_arrays(*(fit.predict(columns) for fit in fits)), axis=0)
