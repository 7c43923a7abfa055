"""Which affordable run would narrow a decision most.

Idea: the bootstrap samples say how the decision and the outcome of a run that was not done vary together. To first order, learning
an outcome y with noise s^2 removes Cov(decision, y)^2 / (Var(y) + s^2) of the decision's variance. No refit is needed.
What goes wrong: the bootstrap samples know nothing of errors of the law itself; a run that would show the law wrong gets no credit.
Source: the linear-Gaussian update (Bayesian linear design, Chaloner and Verdinelli 1995).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pliant.decide.fits.bootstrapped import BootstrappedFit
from pliant.statistics import Array

MOST = 200
"""Measured runs that are varied, evenly picked when there are more."""


def candidates(fit: BootstrappedFit, affordable: float | None) -> dict[str, Array]:
    """The measured runs again, and each with one of its scale columns halved or doubled.

    Only runs that cost at most `affordable` FLOPs (see `cost`), by default the most expensive measured one, and with as many tokens a
    parameter as some measured run: what lies outside that range, the table says nothing of.
    """
    names = [name for name in fit.law.column_names if name in fit.measured]
    measured = np.unique(np.stack([fit.measured[name] for name in names], axis=1), axis=0)
    measured = measured[np.unique(np.linspace(0, len(measured) - 1, MOST).round().astype(int))]
    factors = [np.where([name == changed for name in names], factor, 1.0) for changed in fit.law.scale for factor in (0.5, 2.0)]
    rows = np.unique(np.concatenate([measured, *(measured * factor for factor in factors)]), axis=0)
    runs = {name: rows[:, index] for index, name in enumerate(names)}
    limit = float(cost(fit, fit.measured).max()) if affordable is None else affordable
    kept = (cost(fit, runs) <= limit * 1.0001) & within_regime(fit, runs)
    return {name: values[kept] for name, values in runs.items()}


def within_regime(fit: BootstrappedFit, runs: Mapping[str, Array]) -> NDArray[np.bool_]:
    """Which runs have a number of tokens a parameter between the least and the most measured; all where the law has no such number."""
    if not {"N", "D"} <= set(runs) & set(fit.measured):
        return np.ones(np.shape(next(iter(runs.values()))), dtype=np.bool_)
    measured, asked = fit.measured["D"] / fit.measured["N"], runs["D"] / runs["N"]
    return (asked >= measured.min() / 1.0001) & (asked <= measured.max() * 1.0001)


def cost(fit: BootstrappedFit, runs: Mapping[str, Array]) -> Array:
    """6 N D FLOPs where the law has both columns; else the product of its scale columns (tokens, samples)."""
    shape = np.shape(next(iter(runs.values())))
    product = np.prod([np.ones(shape), *(runs[name] for name in fit.law.scale if name in runs)], axis=0)
    return 6 * product if {"N", "D"} <= set(runs) & set(fit.law.scale) else product


def next_run(fits: Sequence[BootstrappedFit], decision: Array, affordable: float | None = None) -> dict[str, Any] | None:
    """The law and run whose outcome would take most variance off `decision` (samples,), and the fraction it would take.

    `decision` is the quantity at stake per bootstrap sample, such as log tokens or the advantage over the runner-up. None when it
    does not vary or nothing is affordable.
    """
    kept = np.isfinite(decision) & (np.arange(len(decision)) > 0)
    if kept.sum() < 20 or float(np.var(decision[kept])) == 0:
        return None
    best: dict[str, Any] | None = None
    for fit in fits:
        runs = candidates(fit, affordable)
        if not len(next(iter(runs.values()))):
            continue
        outcome = fit.predict({name: values[None, :] for name, values in runs.items()})[kept]
        outcome = np.log(outcome) if fit.logs else outcome
        fraction = _explained(decision[kept], outcome, fit.noise)
        index = int(np.argmax(fraction))
        if best is None or fraction[index] > best["variance_removed"]:
            run = {name: float(values[index]) for name, values in runs.items()}
            best = {"law": fit.law.name, "group": fit.group, "run": run, "variance_removed": float(fraction[index])}
    return best


def _explained(decision: Array, outcome: Array, noise: float) -> Array:
    centred = decision - decision.mean()
    spread = outcome - outcome.mean(axis=0)
    covariance = (centred[:, None] * spread).mean(axis=0)
    fraction = covariance**2 / ((spread**2).mean(axis=0) + noise**2) / np.var(decision)
    return np.where(np.isfinite(fraction), fraction, 0.0)
