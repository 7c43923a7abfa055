"""How many tokens to pretrain on, when the model will be changed afterwards.

Idea: the loss after the change is L_base(D) + Delta(D, strength). The first term flattens, the second keeps growing; the
budget is where their sum is lowest. Every pair of bootstrap samples of the two fits gives its own lowest point, and these are the
interval. A turning point outside the measured token counts is never reported.
When to use it: a base law (chinchilla, overtrained, training_bits, repetition) and a rise law (ptq, qid, sensitivity) fitted
to runs of one family that were annealed alike; or one law of the changed loss that can turn (noisy_channel).
What goes wrong: rises from checkpoints whose learning rate had not decayed alike put the turning point at the wrong place.
Source: decomposition after arXiv 2503.19206; critical data size of arXiv 2411.04330, with the factor beta that one of its
printed forms lacks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pliant.decide.fits.alternatives import alternatives
from pliant.decide.fits.answer import Decision, compare, conclude, interval
from pliant.decide.fits.asked import fits_for, possible
from pliant.decide.fits.bootstrapped import BootstrappedFit, total
from pliant.decide.fits.optimum import minimise
from pliant.errors import PliantError
from pliant.numbers import format_count
from pliant.statistics import Array

if TYPE_CHECKING:
    from pliant.laws import Fit

QUESTION = "how many tokens to pretrain on"
EDGE = 1.001
"""A lowest point this close (as a ratio) to the end of the searched range is the end, not a turning point."""


def critical_tokens(constants: Mapping[str, float], N: float, Ppost: float) -> float:
    """D_crit: the tokens beyond which chinchilla plus ptq rises, (beta B N^gN e^(P/g) / (gD C_T e^b))^(1 / (gD + beta))."""
    p = constants
    gain = p["beta"] * p["B"] * N ** p["gN"] * np.exp(Ppost / p["gpost"])
    return float((gain / (p["gD"] * p["C_T"] * np.exp(p.get("b", 0.0)))) ** (1 / (p["gD"] + p["beta"])))


def decide(
    laws: Sequence[Fit | BootstrappedFit], at: Mapping[str, float], most: float | None = None, affordable: float | None = None
) -> Decision:
    """Tokens D at which the sum of the fits is lowest, with everything else as in `at` (N, Ppost, strength ...).

    The search covers the token counts that every fit was measured on, up to `most` if given; `affordable` (FLOPs) limits
    the run proposed next. Raises PliantError when `at` lacks a value that a law needs.
    """
    fits = fits_for(QUESTION, laws, at, reads=["D"], decides=["D"])
    if most is not None:
        possible("most", most)
    low = max(fit.range("D")[0] for fit in fits)
    high = most or min(fit.range("D")[1] for fit in fits)
    if high < low:
        raise PliantError(
            f"{QUESTION}: these fits were measured from {format_count(low)} tokens on, and {format_count(high)} is the most asked for"
        )
    best, loss = minimise(lambda D: total(fits, {**at, "D": D}), low, high)
    last = total(fits, {**at, "D": high})[:, 0]
    choices = np.array([factor * best[0] for factor in (1, 0.25, 0.5, 2, 4) if low <= factor * best[0] <= high])
    comparison = compare(total(fits, {**at, "D": choices[None, :]}), choices.tolist(), "tokens", fits[0].law.unit)
    inside = (best > low * EDGE) & (best < high / EDGE)
    evidence = {
        "at": dict(at),
        "searched": [low, high],
        "loss": float(loss[0]),
        "loss_interval": interval(loss),
        "rise_to_last": float(last[0] - loss[0]),
        "rise_to_last_interval": interval(last - loss),
        "turns_inside": float(inside.mean()),
        "comparison": comparison,
    }
    left, right = interval(best, low * EDGE, high / EDGE)
    answer: dict[str, Any] = {"low": left, "high": right, "alternatives": alternatives(fits, at, "D", low, high)}
    if inside[0]:
        settled = left is not None and right is not None
        reason = f"the loss after the change is lowest near {format_count(best[0])} tokens"
        reason += "" if settled else ", but some bootstrap samples turn outside the measured range or not at all"
        answer |= {"verdict": "answered" if settled else "undetermined", "reason": reason}
        answer |= {"answer": float(best[0]), "probability_best": comparison.probability_best}
    else:
        side = f"still falls at {format_count(high)}" if best[0] > low * EDGE else f"already rises at {format_count(low)}"
        reason = f"the loss after the change {side} tokens, the end of what was measured: no turning point inside"
        answer |= {"verdict": "undetermined", "reason": reason}
    narrow = np.log(best) if inside[0] else _slope(fits, at, low, high, at_low=best[0] < low * EDGE)
    return conclude(QUESTION, fits, {**at, "D": high}, narrow, affordable, evidence, **answer)


def _slope(fits: Sequence[BootstrappedFit], at: Mapping[str, float], low: float, high: float, *, at_low: bool) -> Array:
    """What the last doubling of tokens at that end of the range does to the loss: its sign says whether the curve turns."""
    ends = np.array([[low, min(2 * low, high)]]) if at_low else np.array([[max(high / 2, low), high]])
    loss = total(fits, {**at, "D": ends})
    return loss[:, 1] - loss[:, 0]
