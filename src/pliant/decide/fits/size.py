"""How large a model to train, and on how many tokens, for a compute budget that may include serving it.

Idea: C = 6 N D P / 16 + 2 N served, in FLOPs of 16-bit arithmetic (P training bits, `served` tokens of inference). On that
line the sum of the fits has one lowest point; it is searched on a grid for the fit and every bootstrap sample, and D always follows
from the constraint: the printed D* of arXiv 2411.04330 misses a factor 1 / P.
When to use it: before a training run, with laws fitted to smaller runs of the same recipe.
What goes wrong: a budget whose optimum lies more than a decade beyond the measured sizes or tokens is refused. Beside the law stand, where
the table allows, IsoFLOP curves and the envelope (`approaches`): look at how far they disagree.
Source: Hoffmann et al. 2022; inference cost after Sardana et al., arXiv 2401.00448; bits after arXiv 2411.04330.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from pliant.decide.fits.answer import FARTHEST, Decision, compare, conclude, interval
from pliant.decide.fits.approaches import Approach, envelope, isoflop
from pliant.decide.fits.asked import fits_for, possible
from pliant.decide.fits.bootstrapped import BootstrappedFit, total
from pliant.decide.fits.optimum import minimise
from pliant.errors import PliantError
from pliant.laws.extrapolation.of_fit import plain, predict_runs
from pliant.laws.extrapolation.rolling import FEWEST
from pliant.numbers import format_count
from pliant.statistics import Array

if TYPE_CHECKING:
    from pliant.laws import Fit

QUESTION = "how large a model, and how many tokens"
EXTRAPOLATED = "loss of a new run, extrapolated"


def tokens_for(compute: float, N: Array, served: float = 0.0, bits: float = 16.0) -> Array:
    """The D that `compute` FLOPs leave for a model of N parameters; NaN where serving alone costs more."""
    left = (compute - 2 * N * served) / (6 * N * bits / 16)
    return np.where(left > 0, left, np.nan)


def split(
    fits: Sequence[BootstrappedFit], compute: float, at: Mapping[str, float], served: float = 0.0, bits: float = 16.0
) -> tuple[Array, Array]:
    """The best N of every bootstrap sample, and the loss there, with D on the budget line; searched far beyond what may be answered."""
    smallest, largest = min(fit.range("N")[0] for fit in fits), max(fit.range("N")[1] for fit in fits)
    beyond = 10 * FARTHEST
    return minimise(lambda N: total(fits, {**at, "N": N, "D": tokens_for(compute, N, served, bits)}), smallest / beyond, largest * beyond)


def decide(
    laws: Sequence[Fit | BootstrappedFit], compute: float, at: Mapping[str, float], served: float = 0.0, affordable: float | None = None
) -> Decision:
    """Parameters N (and, in the evidence, tokens D) at which the sum of the fits is lowest for `compute` FLOPs.

    Raises PliantError when serving leaves nothing to train with, or `at` lacks a value that a law needs.
    """
    fits = fits_for(QUESTION, laws, at, reads=["N", "D"], decides=["N", "D"])
    possible("compute", compute)
    possible("served", served, positive=served != 0)
    best, loss = split(fits, compute, at, served)
    if np.isnan(best[0]):
        raise PliantError(f"serving {format_count(served)} tokens costs more than {compute:.3g} FLOPs at every size; raise the budget")
    tokens = tokens_for(compute, best, served)
    choices = best[0] * np.array([1, 0.25, 0.5, 2, 4])
    line = {"N": choices[None, :], "D": tokens_for(compute, choices[None, :], served)}
    comparison = compare(total(fits, {**at, **line}), choices.tolist(), "parameters", fits[0].law.unit)
    evidence: dict[str, Any] = {
        "at": {**at, "compute": compute, "served": served},
        "tokens": float(tokens[0]),
        "tokens_interval": interval(tokens),
        "tokens_per_parameter": float(tokens[0] / best[0]),
        "tokens_per_parameter_interval": interval(tokens / best),
        "loss": float(loss[0]),
        "loss_interval": interval(loss),
        "comparison": comparison,
        "figures": {
            "tokens": (float(tokens[0]), *interval(tokens)),
            "tokens per parameter": (float(tokens[0] / best[0]), *interval(tokens / best)),
            "loss": (float(loss[0]), *interval(loss)),
        },
    }
    evidence["units"] = dict.fromkeys(("loss", EXTRAPOLATED), fits[0].law.unit)
    evidence["figures"] |= _new_run(laws, {"N": float(best[0]), "D": float(tokens[0])})
    low, high = interval(best)
    if not served and (ways := _approaches(fits, compute)):
        sizes = [float(best[0]), *(way.size for way in ways if way.size is not None)]
        parametric = Approach("parametric", float(best[0]), low, high, None, len(fits[0].measured["N"]), "the law, fitted to all runs")
        evidence |= {"approaches": [asdict(way) for way in (parametric, *ways)], "disagreement": max(sizes) / min(sizes)}
    return conclude(
        QUESTION, fits, {**at, "N": float(best[0]), "D": float(tokens[0])},
        np.log(best), affordable, evidence,
        verdict="undetermined" if low is None else "answered",
        reason=f"{format_count(best[0])} parameters on {format_count(tokens[0])} tokens",
        answer=float(best[0]), low=low, high=high, probability_best=comparison.probability_best,
        alternatives=_alternatives(fits, compute, at, served, float(loss[0])),
    )  # fmt: skip


def _new_run(laws: Sequence[Fit | BootstrappedFit], run: Mapping[str, float]) -> dict[str, tuple[float, float, float]]:
    """The loss that one new run of that size will measure, as `pliant predict` has it; nothing where there is no table of N and D alone."""
    (fit, *others) = laws
    if others or isinstance(fit, BootstrappedFit) or not plain(fit) or len(fit.target) < FEWEST:
        return {}
    found = predict_runs(fit, run)
    return {EXTRAPOLATED: (float(found.value[0]), float(found.low[0]), float(found.high[0]))}


def _approaches(fits: Sequence[BootstrappedFit], compute: float) -> list[Approach]:
    """IsoFLOP and envelope on the runs of the one law of the loss; none where rises or other columns come in."""
    (fit, *others) = fits
    if others or fit.target is None or fit.law.target != "loss" or set(fit.measured) != {"N", "D"}:
        return []
    table = fit.measured["N"], fit.measured["D"], fit.target
    return [isoflop(*table, compute), envelope(*table, compute)]


def _alternatives(
    fits: Sequence[BootstrappedFit], compute: float, at: Mapping[str, float], served: float, loss: float
) -> list[dict[str, Any]]:
    """What twice the compute would gain, and what serving costs."""
    more = float(split(fits, 2 * compute, at, served)[1][0])
    found: list[dict[str, Any]] = [{"lever": "twice the compute", "loss": more, "gain": loss - more}]
    if served:
        free = float(split(fits, compute, at)[1][0])
        found.append({"lever": "serving nothing", "loss": free, "gain": loss - free})
    return found
