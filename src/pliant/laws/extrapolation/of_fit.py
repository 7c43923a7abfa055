"""Predictions from the table that a fit keeps, whichever law was fitted to it.

A law that reads nothing but sizes and tokens is replaced by the form that extrapolates best (`form`); any other keeps its own
formula, refitted with weights towards the target. `as_fitted` gives the law's own predictions, as `Fit` has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pliant.errors import PliantError
from pliant.laws.extrapolation.extrapolation import Extrapolation, Extrapolator, extrapolator, targets_of
from pliant.laws.extrapolation.law_form import LawForm
from pliant.laws.extrapolation.rolling import LogRuns
from pliant.laws.extrapolation.scale import LEARNED, ErrorScale
from pliant.laws.extrapolation.scales import TargetScale
from pliant.laws.extrapolation.targets import asked, model_numbers
from pliant.laws.fitting.fitted import FittedLaw
from pliant.laws.law import Array, Law

PER_LOSS = 15.0
"""A loss falls by so little with compute that its ratio to this power counts as a ratio of compute."""


TYPICAL = 0.41
"""The median of a normal error over the end of its 90% interval."""


def from_fit(fit: FittedLaw, learned: ErrorScale = LEARNED) -> Extrapolator:
    """From the table that a fit keeps: by the extrapolating form where the law reads sizes alone, else by its own formula."""
    law, models = fit.law, fit.texts.get(fit.options.clusters or "")
    if plain(fit):
        return extrapolator(law, fit.columns, fit.target, models, fit.residual == "log", learned)
    form = LawForm(fit)
    runs = LogRuns(
        form.rows(fit.columns, fit.texts),
        _size(law, fit.columns),
        _y(fit),
        model_numbers(law, fit.columns, models, fit.columns, models),
        False,
    )
    logs = fit.residual == "log"
    return Extrapolator(
        runs, lambda: form, TargetScale(0.0, 1.0) if logs else _Straight(), f"law {law.name}, refitted towards the target", learned
    )


def predict_runs(fit: FittedLaw, at: Mapping[str, Any], confidence: float = 0.9) -> Extrapolation:
    """Predict new runs from the table in a fit, by whatever holds best beyond the data. Raises PliantError for targets it cannot take."""
    return from_fit(fit).predict(runs_at(fit, at), confidence)


def runs_at(fit: FittedLaw, at: Mapping[str, Any]) -> LogRuns:
    """The runs that are asked for, as the extrapolator `from_fit` takes them. Raises PliantError for ones that it cannot take."""
    law, models = fit.law, fit.texts.get(fit.options.clusters or "")
    if plain(fit):
        return targets_of(law, at, fit.columns, fit.options.clusters, models)
    form = LawForm(fit)
    wanted, words = asked(law, at, fit.options.clusters, form.groups)
    for name in form.groups:
        if unknown := sorted(set(words[name].tolist()) - set(form.values[name].tolist())):
            raise PliantError(f"column {name!r}: the fit has no {unknown[0]!r}; it has {', '.join(form.values[name].tolist())}")
    codes = model_numbers(law, fit.columns, models, wanted, words.get(fit.options.clusters or ""))
    size = _size(law, wanted)
    return LogRuns(form.rows(wanted, words), size, np.full(len(size), np.nan), codes, False)


def predict_as_fitted(fit: FittedLaw, at: Mapping[str, Any], confidence: float = 0.9) -> Extrapolation:
    """The law's own predictions: its parameters' bootstrap samples and one run's noise; nothing for a law that is not true.

    Raises PliantError for a fit without bootstrap samples.
    """
    wanted, words = asked(fit.law, at, None, sorted(set(fit.coordinates.by.values())))
    columns = {**wanted, **words}
    value = fit.predict(columns)
    (low, high), (inner_low, inner_high) = fit.interval(columns, confidence, noise=True), fit.interval(columns, confidence)
    half, parameters = (high - low) / 2, np.minimum((inner_high - inner_low) / 2, (high - low) / 2)
    parts = {"noise": np.sqrt(half**2 - parameters**2), "parameters": parameters, "form": np.zeros_like(half)}
    beyond = np.exp(np.clip(_size(fit.law, wanted) - _size(fit.law, fit.columns).max(), -700, 700))
    remarks = ("the interval takes the law for true: beyond the data it is too narrow",) if beyond.max() > 1 else ()
    return Extrapolation(value, low, high, parts, beyond, half * TYPICAL, f"law {fit.law.name} as fitted", 0, 1.0, remarks)


def plain(fit: FittedLaw) -> bool:
    """Whether a law reads nothing but the columns that make its scale, at most two, with one set of parameters."""
    law = fit.law
    return set(law.column_names) == set(law.scale) and len(law.scale) <= 2 and not fit.coordinates.by


# --- pieces


class _Straight(TargetScale):
    """The target itself."""

    def __init__(self) -> None:
        super().__init__(0.0, 1.0)

    def __call__(self, target: Array) -> Array:
        return target

    def back(self, y: Array) -> Array:
        return y


def _y(fit: FittedLaw) -> Array:
    return np.log(fit.target) if fit.residual == "log" else fit.target


def _size(law: Law, columns: Mapping[str, Array]) -> Array:
    """Logarithm of the scale; of a law that reads a loss, of the compute that such a loss stands for."""
    if law.scale:
        return np.sum([np.log(columns[name]) for name in law.scale], axis=0)
    return -PER_LOSS * np.log(np.maximum(columns[law.column_names[0]], 1e-300))
