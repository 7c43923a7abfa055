"""How many bits: to train in at a compute budget, to serve in at a memory budget, or to round to within a tolerance.

Idea: every candidate bit width gets its own best model (size and tokens) for the fit and for all bootstrap samples; then the
widths are compared. For training, cost grows with P while the effective size is N f(P): minimising the loss over N, D and
P is the same as maximising f(P) / P, whatever the exponents and the compute. The search does not use that; the tests do.
When to use it: `training` with a law of training bits, `serving` with base and rise laws, `rounding` with rise laws.
What goes wrong: bits below the measured ones are refused; activations and cache have no value below their offsets.
Source: arXiv 2411.04330; its printed closed forms (eq. 7 and 28, D*) carry slips and are not used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pliant.decide.fits.alternatives import alternatives
from pliant.decide.fits.answer import CONFIDENCE, Decision, compare, conclude, interval
from pliant.decide.fits.asked import fits_for, possible
from pliant.decide.fits.bootstrapped import BootstrappedFit, total
from pliant.decide.fits.optimum import minimise
from pliant.decide.fits.size import split, tokens_for
from pliant.errors import PliantError
from pliant.statistics import Array

if TYPE_CHECKING:
    from pliant.laws import Fit

TRAINING, SERVING, ROUNDING = "how many bits to train in", "how many bits to serve in", "how few bits to round to"
TRAINED = ("Pw", "Pa", "Pkv")
Candidate = tuple[Array, Array, Array]
"""Best N and D of a bit width, and the loss there, for every bootstrap sample."""


def training(laws: Sequence[Fit | BootstrappedFit], compute: float, at: Mapping[str, float], affordable: float | None = None) -> Decision:
    """The training bits with the lowest loss for `compute` FLOPs (of 16-bit arithmetic: 6 N D P / 16).

    The parts (weights, activations, cache) that were measured at several widths move together; the others stay as in
    `at`. With N in `at` the size is fixed and tokens take the rest; else both are chosen for every P.
    """
    fits = fits_for(TRAINING, laws, at, reads=["N", "D"], some=TRAINED, decides=["D"])
    possible("compute", compute)
    parts = [part for part in TRAINED if any(part in fit.measured and np.ptp(fit.measured[part]) > 0 for fit in fits)]
    candidates: dict[float, Candidate] = {}
    for bits in _widths(fits, parts):
        setting = {**at, **dict.fromkeys(parts, bits)}
        if "N" in at:
            size = np.array([at["N"]])
            loss = total(fits, {**setting, "D": tokens_for(compute, size, bits=bits)})[:, 0]
        else:
            size, loss = split(fits, compute, setting, bits=bits)
        candidates[bits] = size, tokens_for(compute, size, bits=bits), loss
    return _choose(TRAINING, fits, {**at, "compute": compute}, parts, candidates, affordable)


def serving(laws: Sequence[Fit | BootstrappedFit], memory: float, at: Mapping[str, float], affordable: float | None = None) -> Decision:
    """The post-training bits P with the lowest loss when the weights fill `memory` bytes: N = 8 memory / P.

    With D in `at` tokens are fixed; else each P takes its best D among the measured token counts.
    """
    fits = fits_for(SERVING, laws, at, reads=["N", "D"], some=["Ppost"], decides=["N", "Ppost"])
    possible("memory", memory)
    low, high = max(fit.range("D")[0] for fit in fits), min(fit.range("D")[1] for fit in fits)
    candidates: dict[float, Candidate] = {}
    for bits in _widths(fits, ["Ppost"]):
        setting = {**at, "Ppost": bits, "N": 8 * memory / bits}
        tokens, loss = minimise(lambda D, setting=setting: total(fits, {**setting, "D": D}), at.get("D", low), at.get("D", high))
        candidates[bits] = np.array([setting["N"]]), tokens, loss
    return _choose(SERVING, fits, {**at, "memory": memory}, ["Ppost"], candidates, affordable)


def rounding(laws: Sequence[Fit | BootstrappedFit], tolerance: float, at: Mapping[str, float], affordable: float | None = None) -> Decision:
    """The fewest post-training bits whose rise (the sum of `laws`, nats/token) stays within `tolerance` in 95% of bootstrap samples."""
    fits = fits_for(ROUNDING, laws, at, reads=["Ppost"], decides=["Ppost"], target="rise")
    possible("tolerance", tolerance)
    widths = _widths(fits, ["Ppost"])
    rises = np.concatenate([total(fits, {**at, "Ppost": bits})[:, :1] for bits in widths], axis=1)
    within = rises <= tolerance
    fraction = (within[1:] if len(within) > 1 else within).mean(axis=0)
    enough = fraction >= 0.5 + CONFIDENCE / 2
    index = int(enough.argmax()) if enough.any() else len(widths) - 1
    bits, setting = widths[index], {**at, "Ppost": widths[index]}
    needed = np.where(within.any(axis=1), np.array(widths)[within.argmax(axis=1)], np.nan)
    low, high = interval(needed)
    evidence = {"at": dict(at), "bits": widths, "rise": rises[0].tolist(), "share_under_floor": fraction.tolist()}
    evidence |= {"rise_interval": interval(rises[:, index])}
    return conclude(
        f"the fewest bits that cost less than {tolerance:g} nats/token", fits, setting, np.log(rises[:, index]), affordable, evidence,
        verdict="answered" if enough.any() else "undetermined",
        reason=f"{bits:g} bits stay within the tolerance in {fraction[index]:.0%} of bootstrap samples",
        answer=int(bits) if enough.any() else None, low=low, high=high,
        probability_best=float((needed[1:] == bits).mean()) if len(needed) > 1 else None,
        alternatives=alternatives(fits, setting, "D", at.get("D", 1.0), at.get("D", 1.0)),
    )  # fmt: skip


def _widths(fits: Sequence[BootstrappedFit], parts: Sequence[str]) -> list[float]:
    """Every whole number of bits between the fewest and the most that a fit was measured at."""
    ranges = [fit.range(part) for fit in fits for part in parts if part in fit.measured]
    if not ranges:
        raise PliantError("none of these fits was measured at several bit widths; fit a law of bits (pliant fit --list) first")
    return np.arange(np.ceil(min(low for low, _ in ranges)), np.floor(max(high for _, high in ranges)) + 1).tolist()


def _choose(
    question: str,
    fits: Sequence[BootstrappedFit],
    asked: Mapping[str, float],
    parts: Sequence[str],
    candidates: Mapping[float, Candidate],
    affordable: float | None,
) -> Decision:
    """The width whose best model has the lowest loss."""
    widths = list(candidates)
    values = np.stack([loss for _, _, loss in candidates.values()], axis=1)
    comparison = compare(values, widths, "bits", fits[0].law.unit)
    best: float = comparison.best
    size, tokens, loss = (float(found[0]) for found in candidates[best])
    lowest = np.where(np.isnan(values), np.inf, values)
    low, high = interval(np.where(np.isfinite(lowest.min(axis=1)), np.array(widths)[lowest.argmin(axis=1)], np.nan))
    at_edge = best in (widths[0], widths[-1])
    reason = f"{best:g} bits, with {size:.3g} parameters on {tokens:.3g} tokens"
    setting = {**asked, "N": size, "D": tokens, **dict.fromkeys(parts, best)}
    return conclude(
        question, fits, setting, candidates[comparison.runner_up][2] - candidates[best][2], affordable,
        {"at": dict(asked), "N": size, "D": tokens, "loss": loss, "comparison": comparison},
        verdict="undetermined" if at_edge or low is None else "answered",
        reason=reason + ("; the best lies at the end of the measured bits" if at_edge else ""),
        answer=int(best), low=low, high=high, probability_best=comparison.probability_best,
        alternatives=alternatives(fits, setting, "D", tokens, tokens, decided=parts),
    )  # fmt: skip
