"""A fitted law as a decision sees it: its best parameters, their bootstrap samples, and the runs behind them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pliant.errors import PliantError
from pliant.laws.tables.annealing import MARK
from pliant.spec import nearest
from pliant.statistics import Array

if TYPE_CHECKING:
    from pliant.laws import Fit, Law


@dataclass(frozen=True)
class BootstrappedFit:
    """One fit: sample 0 is the fit itself, the others are its bootstrap samples."""

    law: Law
    parameters: Mapping[str, Array]
    """By name, each of shape (samples, 1)."""
    measured: Mapping[str, Array]
    """The columns of the runs that were fitted."""
    noise: float
    """Standard deviation of one run around the law; relative if `logs`."""
    logs: bool
    audit: Mapping[str, object]
    """The held-out audit as the fit reports it: held_out, error, verdict, reason."""
    group: str | None = None
    """Which value of the column that parameters are split by (a pool's name); None where they are not."""
    target: Array | None = None
    """What was measured in those runs, in the law's unit; None where it is not known."""
    schedule: str | None = None
    """What the fit says of its runs' learning rates; see `pliant.laws.tables.annealing`."""

    @classmethod
    def of(cls, fit: Fit | BootstrappedFit) -> BootstrappedFit:
        """From a fit.

        Raises PliantError for one without bootstrap samples, or with parameters split by a column: a decision needs one of them.
        """
        if isinstance(fit, BootstrappedFit):
            return fit
        if fit.coordinates.by:
            column = next(iter(fit.coordinates.by.values()))
            raise PliantError(
                f"this fit of law {fit.law.name} has one value per {column!r}; fit one {column} alone (where) to decide on it"
            )
        logs, audit = fit.residual == "log", fit.audit.to_json()
        schedule = next((remark for remark in fit.remarks if remark.startswith(MARK)), None)
        return cls(fit.law, _stacked(fit, None), fit.columns, fit.noise, logs, audit, target=fit.target, schedule=schedule)

    def __len__(self) -> int:
        return len(next(iter(self.parameters.values())))

    def predict(self, columns: Mapping[str, float | Array]) -> Array:
        """(samples, points) for columns of shape (), (1, points) or (samples, points). Columns the law does not read are ignored."""
        known = {name: values for name, values in columns.items() if name in self.law.column_names}
        missing = [column.name for column in self.law.columns if column.name not in known and column.default is None]
        if missing:
            raise PliantError(f"law {self.law.name} needs a value of {missing[0]!r}; give it as {missing[0]}=VALUE")
        return np.atleast_2d(self.law(known, self.parameters))

    def range(self, column: str) -> tuple[float, float]:
        """The smallest and largest value of a column among the fitted runs."""
        return float(self.measured[column].min()), float(self.measured[column].max())


def grouped(fit: Fit) -> dict[str, BootstrappedFit]:
    """One entry per value of the column that a fit's parameters are split by; their samples belong together.

    Raises PliantError for a fit that is not split, or has no bootstrap samples.
    """
    columns = sorted(set(fit.coordinates.by.values()))
    if len(columns) != 1:
        raise PliantError(f"this fit of law {fit.law.name} is not split by one column; fit it by b=pool, tau=pool")
    texts, audit = fit.texts[columns[0]], fit.audit.to_json()
    return {
        str(group): BootstrappedFit(
            fit.law, _stacked(fit, str(group)), {name: values[texts == group] for name, values in fit.columns.items()},
            fit.noise, fit.residual == "log", audit, str(group),
        )
        for group in np.unique(texts)
    }  # fmt: skip


def _stacked(fit: Fit, group: str | None) -> dict[str, Array]:
    """The fit's parameters above its bootstrap samples, each (samples, 1); of one group where they are split."""
    if not len(fit.bootstrap_samples):
        raise PliantError(
            f"the fit of law {fit.law.name} has no bootstrap samples, so no decision can be sure; fit again with bootstrap 400"
        )
    found: dict[str, Array] = {}
    for name in fit.law.parameter_names:
        split = fit.coordinates.tied.get(name, name) in fit.coordinates.by
        key = f"{fit.coordinates.tied.get(name, name)}[{group}]" if split else name
        found[name] = np.concatenate([[fit.parameters[key]], fit.resamples[key]])[:, None]
    return found


def paired(fits: Sequence[Fit | BootstrappedFit], at: Iterable[str] = (), seed: int = 0) -> list[BootstrappedFit]:
    """The fits with equally many bootstrap samples, combined at random, since each fit was resampled on its own.

    Raises PliantError when a name in `at` is a column of none of the laws.
    """
    every = [BootstrappedFit.of(fit) for fit in fits]
    known = sorted({name for fit in every for name in fit.law.column_names})
    for name in at:
        if name not in known:
            raise PliantError(f"{name!r} is a column of none of these laws; {nearest(name, known)}")
    count = max(len(fit) for fit in every)
    generator = np.random.default_rng(seed)
    result: list[BootstrappedFit] = []
    for fit in every:
        spare = np.arange(1, len(fit)) if len(fit) > 1 else np.zeros(1, dtype=int)
        order = np.concatenate([[0], generator.permutation(np.resize(spare, count - 1))])
        result.append(replace(fit, parameters={name: values[order] for name, values in fit.parameters.items()}))
    return result


def total(fits: Sequence[BootstrappedFit], columns: Mapping[str, float | Array]) -> Array:
    """The sum of the fits' predictions, (samples, points): base loss plus the rises of the changes to come."""
    return np.sum(np.broadcast_arrays(*(fit.predict(columns) for fit in fits)), axis=0)
