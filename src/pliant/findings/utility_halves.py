"""What data still teaches falls by half with every so many passes over it (arXiv 2404.07177).

The utility law on a table of runs that repeat their data: fitted to few passes it predicts many, beside the same law with a utility that
never falls and with repeats that teach nothing. The runs come from `table`; without one the same is done to a simulated table whose
half-life is known, which checks the procedure and settles nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pliant.errors import PliantError
from pliant.findings.finding import Finding, Outcome, Size, verdict
from pliant.findings.tuned import over_seeds, told
from pliant.laws import LAWS, Fit, fit, grid, simulate
from pliant.statistics import Array

if TYPE_CHECKING:
    from pliant.statistics import Estimate

COLUMNS = {"n": "tokens", "S": "unique_tokens", "error": "val_loss"}
FEW, MANY, DIVERGED, SINGLE = 8, 60, 5.0, 5
"""Passes that are fitted to; passes that are looked at; the loss from which a run has diverged; runs of one pass that a size needs."""
RIVALS = {"repeats that teach nothing": 0.05, "a utility that never falls": 1000.0}
"""Half-lives that amount to none, in passes; the law's own stays between."""
RESAMPLES: dict[Size, int] = {"smoke": 50, "laptop": 400, "gpu": 400}
HALF_LIFE = 4.0
"""Of the simulated table."""

Table = dict[str, Array]


class UtilityHalves(Finding):
    """The slope of the loss against data seen falls geometrically with passes over the data."""

    paper: ClassVar[str] = "Scaling Laws for Data Filtering: data curation cannot be compute agnostic, arXiv 2404.07177"
    claim: ClassVar[str] = "The utility of a pool of data, the exponent b of (loss - d) = (a n)^b, falls by half every tau passes over it."
    published: ClassVar[str] = (
        "contrastive image-text training on pools of 12.8M samples, fitted at 2 to 10 passes: b and tau by pool, tau sought from 1 to 20"
    )
    rule: ClassVar[str] = (
        "reproduced when, on the model sizes with five runs or more of a single pass, runs at 5 nats or more left out, with a and b shared "
        "and tau and d by size, (1) every tau fitted to runs of up to 8 passes has its 90% interval within 1 to 20 passes, (2) runs of 8 "
        "to 60 passes are then predicted with a smaller absolute error than by the same law with a constant utility and with repeats that "
        "teach nothing, both with the 90% interval over runs above 0, (3) every tau fitted to all runs of up to 60 passes has an interval "
        "that overlaps the first, and (4) the table is one of real runs; contradicted when the interval of (2) against a constant utility "
        "lies below -0.01 nats. Least squares, as published."
    )

    table: str | None = Field(
        None, description="Runs as CSV, Parquet or JSON lines with params, tokens, unique_tokens and val_loss; by default simulated ones"
    )

    def test(self, folder: Path) -> Outcome:
        """Some seconds at most; nothing is kept."""
        runs = _large_enough(simulated(HALF_LIFE) if self.table is None else _read(self.table))
        passes = runs["n"] / runs["S"]
        few, many = (_rows(runs, chosen) for chosen in (passes <= FEW, passes > FEW))
        if len(many["n"]) < 2:
            raise PliantError(f"{self.table}: fewer than two runs of {FEW} to {MANY} passes over their data, so nothing can be predicted")
        samples = RESAMPLES[self.size]
        first, whole = _fitted(few, samples), _fitted(runs, samples)
        rivals = {name: _gain(_fitted(few, 0, tau), first, many) for name, tau in RIVALS.items()}
        lives, later = _half_lives(first), _half_lives(whole)
        checks = {
            f"{size}: half-life within 1 to 20 passes ({_told(life)})": life[1] >= 1 and life[2] <= 20 for size, life in lives.items()
        }
        checks |= {f"predicts better than {name} ({told(gain)} nats)": gain.low > 0 for name, gain in rivals.items()}
        checks |= {
            f"{size}: as long over all passes ({_told(life)})": max(life[1], lives[size][1]) <= min(life[2], lives[size][2])
            for size, life in later.items()
        }
        checks["the table is one of real runs (--table)"] = self.table is not None
        errors = np.abs(_predicted(first, many) - many["error"])
        kind = f"simulated runs of half-life {HALF_LIFE:g}: " if self.table is None else ""
        ours = (
            f"{kind}half-life {', '.join(f'{_told(life)} passes ({size})' for size, life in lives.items())} from {len(few['n'])} runs; "
            f"{len(many['n'])} runs of {FEW} to {MANY} passes are predicted to {errors.mean():.3f} nats"
        )
        figures = {
            "parameters": {"few passes": first.parameters, "all": whole.parameters},
            "half-life, few passes": lives,
            "half-life, all": later,
            "gain over": {name: [gain.value, gain.low, gain.high] for name, gain in rivals.items()},
            "error of many passes": errors.tolist(),
        }
        return Outcome(verdict(checks, against=rivals["a utility that never falls"].high < -0.01), ours, checks, figures)


def simulated(half_life: float, noise: float = 0.005, seed: int = 0) -> Table:
    """One size of model on pools of six sizes, at six numbers of passes, with Gaussian noise in nats."""
    columns = grid(S=np.geomspace(1e9, 4e10, 6).tolist(), passes=(1, 2, 4, 8, 16, 40))
    columns["n"] = columns["S"] * columns.pop("passes")
    table = simulate(LAWS["utility"], columns, {"a": 0.002, "b": -0.3, "tau": half_life, "d": 2.0}, noise, seed)
    return {**table, "params": np.full(len(table["n"]), 3e9)}


def _read(path: str) -> Table:
    from pliant.laws.tables.table import read_runs

    where = f"val_loss < {DIVERGED:g} and tokens <= {MANY} * unique_tokens"
    read = read_runs(LAWS["utility"], path, columns=COLUMNS, where=where, texts=["params"], residual="difference")
    return {**read.columns, "error": read.target, "params": read.texts["params"].astype(np.float64)}


def _large_enough(runs: Table) -> Table:
    """The runs of the model sizes that have enough runs of a single pass. Raises PliantError where there are none."""
    once = runs["params"][runs["n"] <= runs["S"]]
    sizes = [size for size in np.unique(runs["params"]) if np.sum(once == size) >= SINGLE]
    if not sizes:
        raise PliantError(f"no model size of the table has {SINGLE} runs of a single pass: the utility of fresh data is not known")
    return _rows(runs, np.isin(runs["params"], sizes))


def _rows(table: Table, chosen: NDArray[np.bool_]) -> Table:
    return {name: values[chosen] for name, values in table.items()}


def _fitted(table: Table, samples: int, half_life: float | None = None) -> Fit:
    """The utility law with tau and d by size, or with tau held."""
    own = {"d": "size"} if half_life else {"tau": "size", "d": "size"}
    held: dict[str, Any] = {"fix": {"tau": half_life}} if half_life else {"bounds": {"tau": tuple(RIVALS.values())}}
    return fit("utility", {**table, "size": _names(table)}, loss="squares", by=own, bootstrap=samples, **held)


def _names(table: Table) -> Any:
    """Model sizes, in words that no two sizes share."""
    return np.array([f"{size / 1e6:.8g}M" for size in table["params"]])


def _predicted(found: Fit, table: Table) -> Array:
    return found.predict({"n": table["n"], "S": table["S"], "size": _names(table)})


def _gain(rival: Fit, ours: Fit, table: Table) -> Estimate:
    """How much larger the rival's absolute errors are, run by run."""
    far, near = (np.abs(_predicted(found, table) - table["error"]) for found in (rival, ours))
    return over_seeds(far - near)


def _half_lives(found: Fit) -> dict[str, tuple[float, float, float]]:
    """By size, with its 90% interval: all there is for one that the runs leave open."""
    lives: dict[str, tuple[float, float, float]] = {}
    for name in found.parameters:
        if name.startswith("tau"):
            low, high = RIVALS.values() if found.undetermined(name) else found.interval(name)
            lives[name.removeprefix("tau").strip("[]")] = (found.parameters[name], low, high)
    return lives


def _told(life: tuple[float, float, float]) -> str:
    return f"{life[0]:.2f} [{life[1]:.2f}, {life[2]:.2f}]"
