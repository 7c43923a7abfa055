"""Fit a law to a table of runs: parameters with intervals, the held-out audit, and what the data leave open.

    fit = pliant.laws.fit("chinchilla", "runs.csv", columns={"N": "params", "D": "tokens", "loss": "loss_c4_val"})
    fit.parameters["alpha"], fit.interval("alpha"), fit.predict({"N": 7e9, "D": 2e12}), fit.audit.verdict

One batch does it all: every start, every bootstrap sample and every refit without some of the rows is a problem of the same
objective (`objective`), brought to its minimum together (`newton`).
Cost: a table of some hundred runs takes well under a second.
What goes wrong: see `unidentifiable` (parameters that only count in combination), `restarts` (how many agreed), `audit`, `remarks`.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pliant.errors import PliantError
from pliant.laws.fitting.audit import audit, scale_of
from pliant.laws.fitting.coordinates import FAR, Coordinates, coordinates, selected
from pliant.laws.fitting.fitted import FitOptions, Restarts
from pliant.laws.fitting.identify import left_open
from pliant.laws.fitting.limits import not_too_much, open_ended, plain_numbers
from pliant.laws.fitting.resample import Bootstrap, noise_level
from pliant.laws.fitting.residuals import error_structure, trend
from pliant.laws.fitting.result import Fit
from pliant.laws.fitting.robust import RobustLoss
from pliant.laws.forms import law_named
from pliant.laws.law import Array, Law
from pliant.laws.tables.table import RunTable, read_runs

if TYPE_CHECKING:
    from torch import Tensor

    from pliant.laws.fitting.objective import FitObjective, Prior
    from pliant.laws.fitting.search import Search
    from pliant.laws.fitting.start import StartingPoints

AUDIT_STARTS = 8
"""Refits without some rows begin at the minima found and at so many of the search's own starts."""


def fit(
    law: Law | str,
    table: Any,
    columns: Mapping[str, str] | None = None,
    where: str | None = None,
    *,
    loss: str = "huber:1e-3",
    residual: str | None = None,
    restarts: str | int = "grid",
    bootstrap: str | int | None = None,
    fix: Mapping[str, float | None] | None = None,
    tie: Mapping[str, str | None] | None = None,
    bounds: Mapping[str, tuple[float | None, float | None]] | None = None,
    priors: Mapping[str, tuple[float, float]] | None = None,
    by: Mapping[str, str] | None = None,
    clusters: str | None = None,
    unit: str | None = None,
    seed: int = 0,
    starts: str | int | None = None,
) -> Fit:
    """Fit `law` to the rows of `table`.

    Args:
        law: a law or the name of one (`pliant.laws.LAWS`).
        table: a mapping of arrays, a data frame (pandas, polars, Arrow), rows, or a CSV, Parquet or JSON-lines file.
        columns: where the law's columns and target are found, {"N": "params"}; SQL expressions are understood.
        where: an SQL condition that chooses rows.
        loss: `huber:1e-3`, `squares` or `quantile:0.9`, of the residuals; `huber:1e-3:3` counts runs below the curve three times.
        residual: `log` or `difference`; the law's own by default.
        restarts: `grid`, the law's own start values, or how many random ones.
        bootstrap: how many samples (400 by default, 0 for none), or `residual:400`, `wild:400`, `run:400`, `cluster:400`; see
            `pliant.laws.fitting.resample`.
        fix: parameters held at a value; None frees what the law itself fixes.
        tie: parameters that equal another, {"beta": "alpha"}; None unties what the law ties.
        bounds: {"alpha": (0, 1)}; None for an open end.
        priors: {"alpha": (0.34, 0.05)}: centre and standard deviation; of a positive parameter, the relative one.
        by: parameters with one value per value of a column, {"b": "pool"}.
        clusters: the column that names each run's cluster.
        unit: `bits` converts a target in bits to nats.
        seed: of random restarts and bootstrap samples.
        starts: the old name of `restarts`.

    Raises PliantError for a table or an option that cannot be used, saying what to do.
    """
    if starts is not None:
        warnings.warn("fit(starts=...) is now called restarts; the old name goes with the next version", DeprecationWarning, stacklevel=2)
        restarts = starts
    law = law_named(law)
    residual = residual or law.residual
    if residual not in ("log", "difference"):
        raise PliantError(f"residual {residual!r}: write log or difference")
    if not 0 <= seed < 2**63:
        raise PliantError(f"seed {str(seed)[:40]}: write a whole number from 0 to 2^63 - 1")
    how = Bootstrap.parse(bootstrap, clusters is not None)
    open_kind = clusters is None and (bootstrap is None or str(bootstrap).isdecimal())
    texts = set((by or {}).values()) | ({clusters} if clusters else set[str]())
    runs = read_runs(law, table, columns=columns, where=where, unit=unit, texts=sorted(texts), residual=residual)
    options = FitOptions(plain_numbers(fix), dict(tie or {}), open_ended(bounds), dict(priors or {}), dict(by or {}), clusters)
    moved = coordinates(law, fix=options.fix, tie=tie, bounds=options.bounds, by=by, groups=runs.texts)
    _enough(law, len(runs), len(moved))
    not_too_much(len(runs), len(moved), how.samples, restarts)
    return _fitted(law, runs, options, moved, RobustLoss.parse(loss), residual, restarts, how, seed, open_kind)


def _fitted(
    law: Law,
    runs: RunTable,
    options: FitOptions,
    moved: Coordinates,
    loss: RobustLoss,
    residual: str,
    restarts: str | int,
    how: Bootstrap,
    seed: int,
    open_kind: bool,
) -> Fit:
    from pliant.laws.fitting.bootstrap import bootstrap_samples
    from pliant.laws.fitting.objective import FitObjective
    from pliant.laws.fitting.search import search
    from pliant.laws.fitting.start import starting_points

    objective = FitObjective(law, runs.columns, runs.texts, moved, loss, residual, runs.target[None], np.ones((1, len(runs))))
    points = starting_points(objective, restarts, seed)
    found = search(objective, points, seed)
    if not np.isfinite(found.value):
        raise PliantError(f"law {law.name} has no value at these rows from any start: check units, or widen its bounds")
    if options.priors:
        objective = _with_priors(objective, found.theta, options.priors)
        found = search(objective, points, seed)
    fitted, jacobian = (part[0].numpy() for part in objective.jacobian(found.theta[None]))
    residuals, theta = objective.targets[0].numpy() - fitted, found.theta.numpy()
    noise = noise_level(residuals, len(moved), loss.corner)
    clusters = np.unique(runs.texts[options.clusters], return_inverse=True)[1] if options.clusters else None
    structure = error_structure(law, runs.columns, residuals, noise, scale_of(law, runs.columns))
    if open_kind and structure.wild:
        how, clusters = Bootstrap("wild", how.samples), structure.clusters
    shown = structure.remarks if open_kind else ()
    left = left_open(found, objective, jacobian.T, noise)
    bent = trend(residuals, scale_of(law, runs.columns))
    return Fit(
        law=law,
        columns=runs.columns,
        target=runs.target,
        texts=runs.texts,
        options=options,
        coordinates=moved,
        loss=loss,
        residual=residual,
        theta=theta,
        bootstrap_samples=bootstrap_samples(
            objective, found.begin, jacobian.T, residuals, clusters, how, seed, _open_parameter(found, left.parameters, moved)
        ),
        bootstrap=how,
        objective=float(objective.values(found.theta[None], found.rows, prior=False)[0]),
        noise=noise,
        penalty=_plain(objective.prior),
        restarts=Restarts(found.tried, found.reached, found.let_go, found.converged),
        unidentifiable=left,
        audit=audit(objective, scale_of(law, runs.columns), _refit_starts(found, points)),
        remarks=(
            *runs.remarks,
            *filter(None, [runs.schedule, *shown, bent]),
            *_search_remarks(found, moved.names),
            *_bound_remarks(moved, theta),
        ),
    )


def _open_parameter(found: Search, undetermined: Sequence[str], moved: Coordinates) -> int | None:
    """The positive coordinate that the data leave open: the only one, or the one that the search sent to zero."""
    from pliant.laws.fitting.search import FAINT

    places = [index for index in selected(moved, undetermined) if moved.logarithmic[index]]
    emptied = [index for index in places if float(found.begin[index] - found.theta[index]) > FAINT / 2]
    if len(emptied) == 1:
        return emptied[0]
    return places[0] if len(places) == len(undetermined) == 1 else None


def _enough(law: Law, rows: int, free: int) -> None:
    if rows <= free:
        raise PliantError(
            f"law {law.name} has {free} free parameters and the table {rows} usable rows: at least {free + 1} are needed; "
            "measure more, or fix some parameters"
        )


def _with_priors(objective: FitObjective, theta: Tensor, priors: Mapping[str, tuple[float, float]]) -> FitObjective:
    """The objective with the priors' penalty, weighed against the information of the rows at the noise they show."""
    from pliant.laws.fitting.objective import penalty

    moved = objective.coordinates
    residuals = (objective.targets - objective.fitted(theta[None]))[0].numpy()
    noise = noise_level(residuals, len(moved), objective.loss.corner)
    centre, strength = np.zeros(len(moved)), np.zeros(len(moved))
    for index, (name, (middle, deviation)) in zip(selected(moved, list(priors)), priors.items(), strict=True):
        if not (1e-100 < deviation < 1e100 and abs(middle) < 1e100) or (moved.logarithmic[index] and not middle > 0):
            raise PliantError(f"prior on {name}: give a centre it can take and a standard deviation above zero, both below 1e100")
        centre[index] = np.log(middle) if moved.logarithmic[index] else middle
        strength[index] = 1 / (deviation**2 * objective.size * objective.loss.information(noise))
    return objective.varied(prior=penalty(centre, strength))


def _plain(prior: Prior | None) -> tuple[Array, Array] | None:
    return None if prior is None else (prior.centre[0].numpy(), prior.strength.numpy())


def _search_remarks(found: Search, names: Sequence[str]) -> list[str]:
    from pliant.laws.fitting.search import FAINT

    emptied = (found.begin - found.theta > FAINT / 2).tolist()
    remarks = [f"the best {name} is zero: its term explains nothing here" for name, gone in zip(names, emptied, strict=True) if gone]
    if not found.converged:
        remarks.append("the best point is no minimum: the objective still falls, ever more slowly, as parameters run away")
    if found.reached < 3:
        remarks.append(
            f"only {found.reached} of {found.tried} restarts reached the best objective: there may be a better one; use more restarts"
        )
    return remarks


def _bound_remarks(moved: Coordinates, theta: Array) -> list[str]:
    low, high = np.abs(theta - moved.low) < 1e-9, np.abs(theta - moved.high) < 1e-9
    natural = moved.natural(theta)
    return [
        f"{name} is at its bound {natural[index]:.4g}: the data would rather have it beyond"
        for index, name in enumerate(moved.names)
        if (low[index] or high[index]) and abs(theta[index]) < FAR
    ]


def _refit_starts(found: Search, points: StartingPoints) -> Tensor:
    import torch

    spread = torch.linspace(0, len(points.theta) - 1, min(AUDIT_STARTS, len(points.theta))).long()
    return torch.cat([found.rivals, points.theta[spread]])
