"""Which form describes these runs best: by what each predicts for runs it was not fitted to.

Every law is fitted to the smaller runs and predicts the next larger ones, step by step along the scale (as in `audit`), so
each run of the larger half is predicted once by each law, from the same runs. Errors are compared run by run: the
difference has an interval, and forms whose difference includes zero are not told apart. `within` is the error of ten-fold
cross-validation, where held-out runs lie among fitted ones.
Cost: some twenty refits a law.
What goes wrong: a form with more parameters may win inside the data and lose beyond it: the ranking looks beyond.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pliant.errors import PliantError
from pliant.laws.fitting.audit import held_out_errors, refit, scale_of, splits
from pliant.laws.fitting.fit import fit
from pliant.laws.fitting.result import Fit
from pliant.laws.forms import law_named
from pliant.laws.law import Array, Law
from pliant.statistics import estimate

FOLDS = 10
STARTS = 8


@dataclass(frozen=True)
class RankedLaw:
    """One form's record."""

    law: str
    parameters: int
    objective: float
    """Mean robust loss of the fit to all runs."""
    error: float | None
    """Mean error on larger runs than it was fitted to; None where too few runs are left to fit."""
    within: float | None
    """Mean error of ten-fold cross-validation."""
    worse_by: float | None
    """Mean difference of errors to the best form, run by run."""
    low: float | None
    high: float | None
    """Its 90% interval; a low end above zero says that the best form is better."""
    audit: str
    """The verdict on the largest runs."""


@dataclass(frozen=True, repr=False)
class LawComparison:
    """Forms, the best first."""

    entries: tuple[RankedLaw, ...]
    predicted: int
    """How many runs each form predicted from smaller ones."""
    fits: tuple[Fit, ...]
    """The fits to all runs, in the order of the entries."""

    @property
    def decided(self) -> bool:
        """Whether the best form beats every other that could be judged."""
        return len(self.entries) > 1 and all(entry.low is not None and entry.low > 0 for entry in self.entries[1:])

    def __repr__(self) -> str:
        """The ranking, a line a form: its error on larger runs and how much worse than the best, with the 90% interval."""
        width = max(len(entry.law) for entry in self.entries)
        lines = [f"forms by their error on {self.predicted} runs larger than those they were fitted to:"]
        for entry in self.entries:
            gap = f", worse by {percentage(entry.worse_by)} [{percentage(entry.low)}, {percentage(entry.high)}]"
            lines.append(f"  {entry.law:{width}}  {percentage(entry.error)}{'' if entry is self.entries[0] else gap}, audit {entry.audit}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        ranked = [asdict(entry) for entry in self.entries]
        return {"ranked": ranked, "predicted": self.predicted, "decided": self.decided}


def compare(
    laws: Sequence[Law | str], table: Any, columns: Mapping[str, str] | None = None, where: str | None = None, **options: Any
) -> LawComparison:
    """Rank laws on one table; `options` are those of `fit`; what names parameters or columns goes to the laws that have them.

    Raises PliantError as `fit` does, and when the laws do not predict the same runs and target.
    """
    chosen = [law_named(law) for law in laws]
    if len({law.name for law in chosen}) < 2:
        raise PliantError("a comparison needs two different laws")
    known = {name for law in chosen for name in (*law.column_names, law.target)}
    if unknown := sorted(set(columns or {}) - known):
        raise PliantError(f"none of the laws reads a column {unknown[0]!r}")
    fits = [_fit(law, table, columns or {}, where, {**options, "bootstrap": 0}) for law in chosen]
    for other in fits[1:]:
        if other.law.target != fits[0].law.target or not np.array_equal(other.target, fits[0].target):
            raise PliantError(f"{other.law.name} and {fits[0].law.name} predict different things; compare laws of one target")
        if other.residual != fits[0].residual:
            raise PliantError(f"{other.law.name} and {fits[0].law.name} differ in their residuals; set residual to log or difference")
    return _ranked(fits, scale_of(*next(((one.law, one.columns) for one in fits if one.law.scale), (fits[0].law, fits[0].columns))))


def _fit(law: Law, table: Any, columns: Mapping[str, str], where: str | None, options: Mapping[str, Any]) -> Fit:
    own = dict(options)
    for option in ("fix", "tie", "bounds", "priors", "by"):
        if own.get(option):
            own[option] = {name: value for name, value in own[option].items() if name in law.parameter_names}
    read = {name: source for name, source in columns.items() if name in (*law.column_names, law.target)}
    return fit(law, table, read, where, **own)


def _ranked(fits: Sequence[Fit], scale: Array) -> LawComparison:
    made = [split for split in splits(scale)[:-1] if split.held_out.any()]
    possible = [split for split in made if split.fitted.sum() > max(len(fit.theta) for fit in fits)]
    ahead = [_held_out(fit, [(split.fitted, split.held_out) for split in possible]) for fit in fits]
    within = [_held_out(fit, _folds(fit)) for fit in fits]
    predicted = np.isfinite(ahead[0]) if possible else np.zeros(len(scale), dtype=bool)
    means = [float(errors[predicted].mean()) if predicted.any() else np.inf for errors in ahead]
    order = sorted(range(len(fits)), key=lambda index: (means[index], float(np.nanmean(within[index]))))
    best = ahead[order[0]]
    groups = np.round(np.log(scale), 9)[predicted].tolist()
    entries: list[RankedLaw] = []
    for index in order:
        fit = fits[index]
        gap = estimate(ahead[index][predicted] - best[predicted], np.ones(int(predicted.sum())), groups) if predicted.any() else None
        entries.append(
            RankedLaw(
                law=fit.law.name,
                parameters=len(fit.theta),
                objective=fit.objective,
                error=_number(means[index]),
                within=_number(float(np.nanmean(within[index]))),
                worse_by=_number(gap.value) if gap else None,
                low=_number(gap.low) if gap else None,
                high=_number(gap.high) if gap else None,
                audit=fit.audit.verdict,
            )
        )
    return LawComparison(tuple(entries), int(predicted.sum()), tuple(fits[index] for index in order))


def _held_out(fit: Fit, parts: Sequence[tuple[NDArray[np.bool_], NDArray[np.bool_]]]) -> Array:
    """The error of every row when held out, NaN for rows that never are. Infinite where the law has no value."""
    import torch

    from pliant.laws.fitting.start import starting_points

    errors = np.full(len(fit.target), np.nan)
    if not parts:
        return errors
    objective = fit.problem()
    points = starting_points(objective, "grid", 0).theta
    spread = points[torch.linspace(0, len(points) - 1, min(STARTS, len(points))).long()]
    theta = refit(objective, np.array([fitted for fitted, _ in parts]), torch.cat([torch.as_tensor(fit.theta)[None], spread]))
    for row, (_, held) in zip(held_out_errors(objective, theta), parts, strict=True):
        errors[held] = np.nan_to_num(row[held], nan=np.inf, posinf=np.inf)
    return errors


def _folds(fit: Fit) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Ten parts of the runs at random; runs of one cluster, or with equal columns, stay together."""
    if fit.options.clusters:
        groups = np.unique(fit.texts[fit.options.clusters], return_inverse=True)[1]
    else:
        groups = np.unique(np.stack(list(fit.columns.values()), axis=1), axis=0, return_inverse=True)[1].reshape(-1)
    order = np.random.default_rng(0).permutation(groups.max() + 1)
    fold = order[groups] % FOLDS
    parts = [(fold != number, fold == number) for number in range(FOLDS)]
    return [(fitted, held) for fitted, held in parts if held.any() and fitted.sum() > len(fit.theta)]


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None


def percentage(value: float | None) -> str:
    """An error as text: a percentage, or a question mark where there is none."""
    return "?" if value is None else f"{value:.3%}"
