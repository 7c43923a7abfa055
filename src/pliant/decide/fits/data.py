"""Which pools of data to train on at a budget, and how far to repeat what there is.

Idea: a better pool wears out when it is repeated, a larger mixture lasts longer. With the worth b and the half-life tau of
every pool, the error of any set of pools at any number of samples follows without training on it; all sets are compared.
For repetition, the discounted token count of `repetition` says what another epoch still brings.
When to use it: `pools` with a `utility` fit by pool (b and tau per pool, a and d shared); `epochs` with a `repetition` fit.
What goes wrong: pools are taken to be mixed in proportion to their sizes; transfer between pools is not modelled.
Source: arXiv 2404.07177 (which tries only the k best pools; here every set, up to 8 pools) and arXiv 2305.16264.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pliant.decide.fits.alternatives import alternatives
from pliant.decide.fits.answer import FARTHEST, Decision, compare, conclude, interval
from pliant.decide.fits.asked import fits_for, possible, require
from pliant.decide.fits.bootstrapped import BootstrappedFit, grouped, total
from pliant.decide.fits.size import split, tokens_for
from pliant.errors import PliantError
from pliant.laws.forms.utility import mixture
from pliant.numbers import format_count
from pliant.statistics import Array

if TYPE_CHECKING:
    from pliant.laws import Fit

POOLS, REPEAT = "which pools to train on", "how far to repeat the data"
MOST_POOLS = 8


def pools(fit: Fit | Mapping[str, BootstrappedFit], samples: float, affordable: float | None = None) -> Decision:
    """The set of pools with the lowest error after `samples` samples, by name, from one `utility` fit split by pool.

    Raises PliantError for more than 8 pools, other laws, and pools that do not share `a` and `d`.
    """
    if not isinstance(fit, Mapping):
        require(POOLS, fit.law, ["n", "S"])
    possible("samples", samples)
    by_pool = _checked(fit if isinstance(fit, Mapping) else grouped(fit))
    sets = [chosen for count in range(1, len(by_pool) + 1) for chosen in itertools.combinations(by_pool, count)]
    errors = {chosen: _errors([by_pool[name] for name in chosen], samples) for chosen in sets}
    comparison = compare(np.stack(list(errors.values()), axis=1), sets, "pools", next(iter(by_pool.values())).law.unit)
    best, second = comparison.best, comparison.runner_up
    members, sure = [by_pool[name] for name in best], comparison.probability_best
    error, twice = errors[best], _errors(members, 2 * samples)
    evidence = {
        "samples": samples,
        "epochs": samples / sum(fit.range("S")[1] for fit in members),
        "error": float(error[0]),
        "error_interval": interval(error),
        "comparison": comparison,
    }
    return conclude(
        POOLS, members, {"n": samples}, errors[second] - error, affordable, evidence,
        verdict="answered" if sure >= 0.5 else "undetermined",
        reason=f"{' + '.join(best)}: the best of {len(sets)} sets in {sure:.0%} of bootstrap samples",
        answer=list(best), probability_best=sure,
        alternatives=[{"lever": "twice the samples", "error": float(twice[0]), "gain": float(error[0] - twice[0])}],
    )  # fmt: skip


def _checked(by_pool: Mapping[str, BootstrappedFit]) -> Mapping[str, BootstrappedFit]:
    first = next(iter(by_pool.values()))
    if first.law.name != "utility":
        raise PliantError(f"pools are compared by a fit of the law utility, not {first.law.name}")
    if len(by_pool) > MOST_POOLS:
        raise PliantError(f"at most {MOST_POOLS} pools can be compared, not {len(by_pool)}; merge the most alike")
    for name in ("a", "d"):
        if any(not np.array_equal(fit.parameters[name], first.parameters[name]) for fit in by_pool.values()):
            raise PliantError(f"the pools do not share {name}; fit them together, by b=pool, tau=pool")
    return by_pool


def _errors(fits: Sequence[BootstrappedFit], samples: float) -> Array:
    """Error of the mixture of these pools after `samples`, (bootstrap samples,)."""
    b, tau = (np.concatenate([fit.parameters[name] for fit in fits], axis=1) for name in ("b", "tau"))
    a, d = (fits[0].parameters[name][:, 0] for name in ("a", "d"))
    return mixture(samples, np.array([fit.range("S")[1] for fit in fits]), b, tau, a, d)


def epochs(fit: Fit | BootstrappedFit, unique: float, compute: float, at: Mapping[str, float], affordable: float | None = None) -> Decision:
    """How often to go through `unique` tokens with `compute` FLOPs: D / unique at the best split into size and tokens."""
    fits, setting = fits_for(REPEAT, [fit], at, reads=["N", "D", "U"], decides=["N", "D", "U"]), {**at, "U": unique}
    possible("unique", unique)
    possible("compute", compute)
    seen = float((fits[0].measured["D"] / fits[0].measured["U"]).max())
    if seen <= 1:
        raise PliantError(f"{REPEAT}: none of the runs behind this fit repeats its data, so it knows nothing of repetition")
    best, loss = split(fits, compute, setting)
    passes = tokens_for(compute, best) / unique
    around = best[0] * np.array([[1, 0.5, 2]])
    line = {"N": around, "D": tokens_for(compute, around)}
    comparison = compare(total(fits, {**setting, **line}), (line["D"][0] / unique).tolist(), "epochs", fits[0].law.unit)
    chosen = {**setting, "N": float(best[0]), "D": float(passes[0] * unique)}
    evidence = {"at": {**setting, "compute": compute}, "N": chosen["N"], "D": chosen["D"]}
    evidence |= {"loss": float(loss[0]), "loss_interval": interval(loss), "comparison": comparison}
    low, high = interval(passes)
    reason = f"{passes[0]:.3g} epochs of {format_count(unique)} unique tokens, with {format_count(best[0])} parameters"
    far = passes[0] > FARTHEST * seen
    if far:
        reason = f"{passes[0]:.3g} epochs lie more than {FARTHEST:g} times beyond the {seen:.3g} that the runs repeated their data"
    return conclude(
        REPEAT, fits, chosen, np.log(passes), affordable, evidence,
        verdict="refused" if far else "undetermined" if low is None else "answered", reason=reason,
        answer=None if far else float(passes[0]), low=None if far else low, high=None if far else high,
        probability_best=comparison.probability_best,
        alternatives=alternatives(fits, chosen, "N", chosen["N"], chosen["N"]),
    )  # fmt: skip
