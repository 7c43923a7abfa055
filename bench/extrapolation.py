"""Do intervals for larger runs cover? Rolling extrapolation on tables in which the larger runs exist.

    python bench/extrapolation.py [learn]

A split fits the runs up to the 0.4, 0.55, 0.7 or 0.85 quantile of a table's compute levels and predicts all larger ones.
Every origin of tables is predicted with constants of the error's scale that were learned on the other origins alone; `learn` prints
those learned on all, which the package uses. Compared with: SciPy's curve_fit of Chinchilla's form, its covariance with
one run's noise; and the classic fit with its bootstrap. The figures go to bench/extrapolation.json and docs/laws-coverage.md.
"""

from __future__ import annotations

import itertools
import json
import sys
import warnings
from dataclasses import replace
from typing import Any

import coverage
import numpy as np
from extrapolation_tables import KINDS, Table, shared, simulated
from scipy import optimize
from torch import set_num_threads

from pliant.laws import LAWS, fit
from pliant.laws.extrapolation.extrapolation import Extrapolator, extrapolator, targets_of
from pliant.laws.extrapolation.scale import LEARNED, Errors, ErrorScale

CHINCHILLA = LAWS["chinchilla"]
QUANTILES = (0.4, 0.55, 0.7, 0.85)
EDGES = np.log([2.0, 5.0, 20.0])
FEWEST, TABLES, DRAWS = 5, 20, 60
"""Runs in a band that count; simulated tables of a kind; bootstrap samples of the classic fit."""
BEFORE = np.array([-1.97, 0.7, 0.55, np.log(0.7), 0.0, np.log(5.0), 0.0])
WIDTHS = np.array([1.0, 0.3, 0.3, 0.5, 0.7, 0.4, 0.15]) / np.sqrt(0.3)
"""A weak prior on the constants."""


def splits(table: Table) -> list[np.ndarray]:
    """Which rows each split fits."""
    size = np.round(np.log(table["N"] * table["D"]), 9)
    cuts = [np.quantile(np.unique(size), quantile) for quantile in QUANTILES]
    return [size <= cut for cut in cuts if (size <= cut).sum() >= 8 and (size > cut).any()]


def split_errors(table: Table, rows: np.ndarray) -> tuple[Extrapolator, Errors]:
    """The extrapolator of one split, and its errors on what lies beyond."""
    known = {name: table[name][rows] for name in ("N", "D")}
    maker = extrapolator(CHINCHILLA, known, table["loss"][rows], None, True)
    targets = targets_of(CHINCHILLA, {name: table[name][~rows] for name in ("N", "D")}, known, None, None)
    return maker, maker.fit.predict(replace(targets, y=np.log(table["loss"][~rows])))[1]


def curve_fit(table: Table, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Errors and half-widths (log) of SciPy's fit with its covariance, from nine starts."""

    def law(columns: np.ndarray, e: float, a: float, b: float, alpha: float, beta: float) -> np.ndarray:
        return np.logaddexp(np.logaddexp(a - alpha * columns[0], b - beta * columns[1]), e)

    columns, y = np.log(np.stack([table["N"], table["D"]])), np.log(table["loss"])
    best: Any = None
    for alpha, beta in itertools.product((0.2, 0.4, 0.7), repeat=2):
        start = [y.min() - 0.5, alpha * columns[0].mean() - 0.5, beta * columns[1].mean() - 0.5, alpha, beta]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                theta, covariance = optimize.curve_fit(law, columns[:, rows], y[rows], start, maxfev=2000)
        except RuntimeError:
            continue
        rms = float(np.sqrt(np.mean((y[rows] - law(columns[:, rows], *theta)) ** 2)))
        if best is None or rms < best[0]:
            best = rms, theta, covariance
    if best is None:
        return np.full((~rows).sum(), np.nan), np.zeros((~rows).sum())
    rms, theta, covariance = best
    jacobian = np.stack(
        [(law(columns[:, ~rows], *(theta + step)) - law(columns[:, ~rows], *(theta - step))) / 2e-6 for step in 1e-6 * np.eye(5)], axis=1
    )
    spread = np.einsum("rk,kl,rl->r", jacobian, np.nan_to_num(covariance, posinf=1e6), jacobian)
    return y[~rows] - law(columns[:, ~rows], *theta), 1.645 * np.sqrt(np.maximum(spread, 0) + rms**2)


def classic(table: Table, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same of the classic fit, with its interval for one more run."""
    found = fit("chinchilla", {name: values[rows] for name, values in table.items()}, bootstrap=DRAWS, restarts=20)
    at = {name: table[name][~rows] for name in ("N", "D")}
    low, high = found.interval(at, noise=True)
    measured = table["loss"][~rows]
    inside = (low <= measured) & (measured <= high)
    error = np.log(measured / found.predict(at))
    half = np.log(high / low) / 2
    return error, np.where(inside, np.maximum(half, np.abs(error)), np.minimum(half, np.abs(error) * 0.999999))


def learn(kept: list[tuple[str, list[Errors], Errors]]) -> ErrorScale:
    """Constants that make the errors most likely, every origin and band weighing the same."""
    thin = [(origin, [_thinned(errors, 24) for errors in past], _thinned(ahead, 60)) for origin, past, ahead in kept]
    bands = [np.searchsorted(EDGES, ahead.distance) for _, _, ahead in thin]
    counts: dict[tuple[str, int], int] = {}
    for (origin, _, _), band in zip(thin, bands, strict=True):
        for number in band.tolist():
            counts[origin, number] = counts.get((origin, number), 0) + 1
    weights = [np.array([1 / counts[origin, b] for b in band.tolist()]) for (origin, _, _), band in zip(thin, bands, strict=True)]

    def loss(point: np.ndarray) -> float:
        scale, total = scale_of(point), 0.0
        for (_, past, ahead), weight in zip(thin, weights, strict=True):
            density = scale.log_density(ahead)
            top = density.max(axis=1)
            total -= float(weight @ (top + np.log(np.exp(density - top[:, None]) @ scale.posterior(past))))
            total -= float(weight.sum()) * constant(scale.freedom)
        return total + 0.5 * float((((point - BEFORE) / WIDTHS) ** 2).sum())

    start = np.array(
        [LEARNED.level, LEARNED.power, LEARNED.growth, *np.log([LEARNED.spread, LEARNED.weight, LEARNED.freedom, LEARNED.shrink])]
    )
    options = {"maxiter": 150, "xatol": 0.02, "fatol": 0.02}
    simplex = np.vstack([start, start + 0.15 * np.eye(len(start))])
    return scale_of(optimize.minimize(loss, start, method="Nelder-Mead", options=options | {"initial_simplex": simplex}).x)


def scale_of(point: np.ndarray) -> ErrorScale:
    """Constants from the optimiser's coordinates."""
    return ErrorScale(*(float(value) for value in (*point[:3], *np.exp(point[3:]))))


def constant(freedom: float) -> float:
    """The logarithm of the Student-t's normalising factor."""
    from scipy.special import gammaln

    return float(gammaln((freedom + 1) / 2) - gammaln(freedom / 2) - 0.5 * np.log(freedom * np.pi))


def _thinned(errors: Errors, most: int) -> Errors:
    chosen = np.unique(np.linspace(0, len(errors.error) - 1, min(most, len(errors.error))).round().astype(int))
    return Errors(*(part[chosen] for part in errors))


def figures(rows: list[tuple[str, np.ndarray, np.ndarray, np.ndarray]]) -> dict[str, list[dict[str, float] | None]]:
    """By origin, for each band: runs, coverage, width and median error in percent of the loss, width over the oracle's."""
    found: dict[str, list[dict[str, float] | None]] = {}
    for origin in dict.fromkeys(row[0] for row in rows):
        distance, error, half = (np.concatenate([row[i] for row in rows if row[0] == origin]) for i in (1, 2, 3))
        error, bands = np.nan_to_num(np.abs(error), nan=9.0), np.searchsorted(EDGES, distance)
        found[origin] = []
        for band in range(4):
            e, h = error[bands == band], half[bands == band]
            if len(e) < FEWEST:
                found[origin].append(None)
                continue
            oracle = float(np.quantile(e, 0.9))
            told = {"n": len(e), "covered": float((e <= h).mean()), "width": 200 * float(np.median(h)), "error": 100 * float(np.median(e))}
            found[origin].append(told | {"oracle": float(np.mean(h)) / oracle})
    return found


def main() -> None:
    set_num_threads(1)
    kept: list[tuple[str, list[Errors], Errors]] = []
    against: dict[str, list[tuple[str, np.ndarray, np.ndarray, np.ndarray]]] = {"curve_fit": [], "classic": []}
    for (origin, _), table in shared().items():
        for rows in splits(table):
            maker, ahead = split_errors(table, rows)
            kept.append((origin, maker.past, ahead))
            if "learn" not in sys.argv:
                against["curve_fit"].append((origin, ahead.distance, *curve_fit(table, rows)))
                against["classic"].append((origin, ahead.distance, *classic(table, rows)))
    if "learn" in sys.argv:
        print(learn(kept))
        return
    ours, stated = [], []
    for left in dict.fromkeys(origin for origin, _, _ in kept):
        scale = learn([part for part in kept if part[0] != left])
        print(left, scale, flush=True)
        for origin, past, ahead in kept:
            if origin == left:
                posterior = scale.posterior(past)
                ours.append((origin, ahead.distance, ahead.error, scale.half_width(ahead, posterior, 0.9)))
                stated.append((scale.half_width(ahead, posterior, 0.5), np.abs(ahead.error)))
    results: dict[str, Any] = {"ours": figures(ours)} | {name: figures(rows) for name, rows in against.items()}
    results["stated"] = stated_errors(*(np.concatenate([part[i] for part in stated]) for i in (0, 1)))
    simulations = []
    for kind, seed in itertools.product(KINDS, range(TABLES)):
        table = simulated(kind, seed)
        rows = splits(table)[seed % 3]
        maker, ahead = split_errors(table, rows)
        simulations.append((kind, ahead.distance, ahead.error, LEARNED.half_width(ahead, maker.posterior, 0.9)))
    results["simulated"] = figures(simulations)
    (coverage.ROOT / "bench" / "extrapolation.json").write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    coverage.REPORT.write_text(coverage.report(json.loads(coverage.STORE.read_text())), encoding="utf-8")


def stated_errors(stated: np.ndarray, actual: np.ndarray) -> list[dict[str, float]]:
    """The error that a prediction says to expect, in bins, against the median of what it was."""
    bins = np.digitize(stated, [0.003, 0.006, 0.012, 0.025, 0.05])
    return [
        {
            "n": int((bins == b).sum()),
            "stated": 100 * float(np.median(stated[bins == b])),
            "actual": 100 * float(np.median(actual[bins == b])),
        }
        for b in range(6)
        if (bins == b).sum() >= FEWEST
    ]


if __name__ == "__main__":
    main()
