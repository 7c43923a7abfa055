"""Which runs, for this budget, would narrow an answer most: a plan for a sweep.

Idea: to first order a run adds to what is known of the parameters the square of its prediction's slope over its noise, and the variance
of an answer is its own slope through the inverse of that sum. Runs are added while the budget lasts, the one that takes off most
first (in all, per FLOP, and between), then exchanged one by one while that helps; the best of these plans stands. Nothing is
random. The answer is the best size at a budget, or the prediction at one run.
When to use it: before paying for runs. `next` of other decisions names one run; this one spends a sum.
Cost: some hundred candidates, a small matrix each; well under a second.
What goes wrong: the slopes are those of the law as fitted: runs that would show the law wrong get no credit, so keep one or two of your
own. Candidates stay within the tokens per parameter of the table, and go two doublings beyond its sizes.
Source: c-optimal designs, Elfving 1952; exchange after Fedorov 1972; the local linearisation of Chernoff 1953.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pliant.decide.fits.answer import Decision, distances, interval, obstacle, warnings_of
from pliant.decide.fits.asked import fits_for, possible
from pliant.decide.fits.audits import audits
from pliant.decide.fits.bootstrapped import BootstrappedFit, total
from pliant.decide.fits.next_run import cost
from pliant.decide.fits.size import split, tokens_for
from pliant.errors import PliantError
from pliant.numbers import format_count
from pliant.statistics import Array

if TYPE_CHECKING:
    from pliant.laws import Fit

QUESTION = "which runs to do for this budget"
SIZES, RATIOS = 13, 11
"""Candidates: so many sizes, each at so many numbers of tokens a parameter."""
LARGER = 4
"""How many times the largest measured size candidates go to."""
STEP = 1e-4
RIDGE = 1e-12
"""Of the information's own scale: directions that nothing determines stay finite."""
PASSES = 20
MOST_RUNS = 50
USEFUL = 1e-3
"""A run that takes off less than this share of what variance is left is not worth planning."""


def decide(fit: Fit, budget: float, compute: float | None = None, at: Mapping[str, float] | None = None, runs: int = 8) -> Decision:
    """At most `runs` runs of together at most `budget` FLOPs that narrow the best size for `compute`, or the prediction `at` N and D.

    Raises PliantError for a law that does not read N and D, for a budget below the cheapest run, and for both or no answer asked.
    """
    if (compute is None) == (not at):
        raise PliantError(f"{QUESTION}: give --compute (narrow the best size for it), or --at N=..,D=.. (narrow that prediction)")
    (drawn,) = fits_for(QUESTION, [fit], at or {}, reads=["N", "D"])
    if set(fit.law.column_names) != {"N", "D"} or fit.coordinates.by:
        raise PliantError(f"{QUESTION}: law {fit.law.name} reads more than N and D; plan with a law of these two")
    for name, value in (("budget", budget), *((name, value) for name, value in (("compute", compute),) if value is not None)):
        possible(name, value)
    if not 1 <= runs <= MOST_RUNS:
        raise PliantError(f"runs {runs}: write a number from 1 to {MOST_RUNS}")
    if at is not None and compute is None and not {"N", "D"} <= set(at):
        raise PliantError(f"{QUESTION}: --at needs both N and D")
    able = candidates(drawn)
    price = cost(drawn, able)
    if price.min() > budget:
        raise PliantError(f"the budget of {budget:.3g} FLOPs is below the cheapest run within the table's regime, {price.min():.3g} FLOPs")
    wanted, spread, setting, words = _answer(fit, drawn, compute, at)
    audit, told_of = audits([drawn], setting), warnings_of([drawn])
    if reason := obstacle([drawn], setting):
        return Decision(QUESTION, "refused", reason, audit=audit, evidence={"distance": distances([drawn], setting)}, warnings=told_of)
    known, slopes = _information(fit, fit.columns), _slopes(fit, able)
    chosen = best_plan(known, slopes, wanted, price, budget, runs)
    share = float(np.sqrt(variance(known + slopes[chosen].T @ slopes[chosen], wanted) / variance(known, wanted)))
    low, high = interval(spread)
    width = None if low is None or high is None else (high / low) ** 0.5 - 1
    after = None if width is None else (1 + width) ** share - 1
    told = "" if width is None or after is None else f": the 90% interval of {words} narrows from about ±{width:.2g} to ±{after:.2g} of it"
    order = sorted(chosen, key=lambda run: price[run])
    plan = [{"N": float(able["N"][run]), "D": float(able["D"][run]), "compute": float(price[run])} for run in order]
    spent = sum(run["compute"] for run in plan)
    evidence: dict[str, Any] = {
        "at": {**(at or {}), **({} if compute is None else {"compute": compute}), "budget": budget},
        "narrows": words,
        "interval_before": (low, high),
        "relative_width_before": width,
        "relative_width_after": after,
        "remaining": share,
        "spent": spent,
        "candidates": len(price),
        "distance": distances([drawn], setting),
    }
    reason = f"{len(plan)} runs for {spent:.3g} FLOPs{told}"
    return Decision(QUESTION, "answered" if plan else "undetermined", reason, answer=plan, audit=audit, evidence=evidence, warnings=told_of)


def candidates(fit: BootstrappedFit) -> dict[str, Array]:
    """Runs within the regime of the table: its sizes and two doublings beyond, its numbers of tokens a parameter."""
    low, high = fit.range("N")
    ratio = fit.measured["D"] / fit.measured["N"]
    sizes, ratios = np.geomspace(low, LARGER * high, SIZES), np.unique(np.geomspace(ratio.min(), ratio.max(), RATIOS))
    return {"N": np.repeat(sizes, len(ratios)), "D": (sizes[:, None] * ratios).ravel()}


def _answer(
    fit: Fit, drawn: BootstrappedFit, compute: float | None, at: Mapping[str, float] | None
) -> tuple[Array, Array, dict[str, float], str]:
    """The slope of the answer's logarithm in the fit's coordinates (k,), its samples, where it stands, and what it is."""
    varied = _varied(fit, drawn)
    if compute is not None:
        spread = split([drawn], compute, {})[0]
        moved = np.log(split([varied], compute, {})[0])
        setting = {"N": float(spread[0]), "D": float(tokens_for(compute, spread[:1])[0])}
        words = f"the best size for {compute:.3g} FLOPs ({format_count(spread[0])})"
    else:
        setting = dict(at or {})
        spread, moved = total([drawn], setting)[:, 0], np.log(total([varied], setting)[:, 0])
        words = f"the {fit.law.target} at {', '.join(f'{name} {format_count(value)}' for name, value in setting.items())} ({spread[0]:.4g})"
    slope = (moved[1::2] - moved[2::2]) / (2 * STEP)
    if not np.isfinite(slope).all():
        raise PliantError(f"{QUESTION}: the law has no value near {words}")
    return slope, spread, setting, words


def _varied(fit: Fit, drawn: BootstrappedFit) -> BootstrappedFit:
    """The fit itself, then every coordinate a step up and a step down, as samples."""
    k = len(fit.theta)
    steps = np.zeros((2 * k + 1, k))
    steps[1::2], steps[2::2] = STEP * np.eye(k), -STEP * np.eye(k)
    values = fit.coordinates.values(fit.law, fit.coordinates.natural(fit.theta + steps), {})
    return replace(drawn, parameters={name: np.broadcast_to(value, (2 * k + 1, 1)) for name, value in values.items()})


def _slopes(fit: Fit, runs: Mapping[str, Array]) -> Array:
    """What each run says of the coordinates, in units of one run's noise: (runs, k)."""
    import torch

    columns = {name: np.asarray(runs[name], dtype=np.float64) for name in fit.law.column_names}
    one = np.ones((1, len(columns["N"])))
    objective = type(fit.problem())(fit.law, columns, {}, fit.coordinates, fit.loss, fit.residual, one, one)
    jacobian = objective.jacobian(torch.as_tensor(fit.theta)[None])[1][0].numpy().T
    return np.nan_to_num(jacobian, posinf=0.0, neginf=0.0) / max(fit.noise, 1e-12)


def _information(fit: Fit, runs: Mapping[str, Array]) -> Array:
    slopes = _slopes(fit, runs)
    known = slopes.T @ slopes
    return known + np.diag(RIDGE * np.diag(known) + 1e-300)


def variance(known: Array, wanted: Array) -> float:
    """Of an answer of this slope, given this information."""
    unit = np.sqrt(np.diag(known))
    return float((wanted / unit) @ np.linalg.solve(known / np.outer(unit, unit), wanted / unit))


def best_plan(known: Array, slopes: Array, wanted: Array, price: Array, budget: float, runs: int) -> list[int]:
    """Which candidates, with repeats, leave the answer the least variance: greedy plans, then exchanges."""
    greedy = [_greedy(known, slopes, wanted, price, budget, runs, per) for per in (0.0, 0.5, 1.0)]
    plans = [_exchanged(known, slopes, wanted, price, budget, plan) for plan in greedy]
    return min(plans, key=lambda plan: variance(known + slopes[plan].T @ slopes[plan], wanted))


def _gains(known: Array, slopes: Array, wanted: Array) -> Array:
    """The share of the variance that each run alone would take off."""
    unit = np.sqrt(np.diag(known))
    inverse = np.linalg.inv(known / np.outer(unit, unit))
    scaled, target = slopes / unit, wanted / unit
    reach = scaled @ inverse
    return (reach @ target) ** 2 / (1 + (reach * scaled).sum(axis=1)) / (target @ inverse @ target)


def _greedy(known: Array, slopes: Array, wanted: Array, price: Array, budget: float, runs: int, per: float) -> list[int]:
    """The run of the highest gain over price^per, again and again."""
    chosen: list[int] = []
    while len(chosen) < runs:
        left = budget - price[chosen].sum()
        gains = np.where(price <= left * 1.0001, _gains(known, slopes, wanted), 0.0)
        best = int(np.argmax(gains / price**per))
        if gains[best] < USEFUL:
            break
        chosen.append(best)
        known = known + np.outer(slopes[best], slopes[best])
    return chosen


def _exchanged(known: Array, slopes: Array, wanted: Array, price: Array, budget: float, chosen: list[int]) -> list[int]:
    """One run after the other replaced by the best that the rest of the budget pays, until nothing is gained."""
    for _ in range(PASSES):
        before = list(chosen)
        for position in range(len(chosen)):
            others = [run for index, run in enumerate(chosen) if index != position]
            rest = known + slopes[others].T @ slopes[others]
            gains = np.where(price <= (budget - price[others].sum()) * 1.0001, _gains(rest, slopes, wanted), -1.0)
            best = int(np.argmax(gains))
            if gains[best] > gains[chosen[position]] * (1 + 1e-9):
                chosen[position] = best
        if chosen == before:
            break
    return chosen
