"""What larger runs will measure, with an interval that says what it rests on.

    found = extrapolate("runs.csv", {"N": 7e9, "D": 140e9}, columns={"loss": "loss_c4"})
    found.value, found.low, found.high, found.parts["form"], found.beyond

Idea: near the target a law need not hold everywhere. The form with one more exponent (`form`) is fitted with weights towards
the largest runs, corrected by what the target's own model showed, and its error is read off how such extrapolations have
been off, on other tables and, by rolling origins, on this one (`scale`).
When to use it: whenever the number matters and not the parameters; `Fit` has those.
Cost: at most seven fits and no resamples, 0.1 to 0.3 s a table.
What goes wrong: runs whose learning rate ended otherwise (mid-run checkpoints, constant rates) are another series: predict
each from its own. Tokens per parameter beyond the table's range are not counted as distance. Fewer than 8 rows are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pliant.errors import PliantError
from pliant.laws.extrapolation.compute import COMPUTE
from pliant.laws.extrapolation.form import Form, PowerSum
from pliant.laws.extrapolation.rolling import FEWEST, LogRuns, Origin, origin, past_errors
from pliant.laws.extrapolation.scale import LEARNED, WRONGNESS, Errors, ErrorScale
from pliant.laws.extrapolation.scales import TargetScale, target_scale
from pliant.laws.extrapolation.targets import asked, model_numbers
from pliant.laws.forms.chinchilla import LAW as CHINCHILLA
from pliant.laws.law import Array, Law
from pliant.laws.tables.table import read_runs

FAR = 100.0
"""Beyond so many times the largest compute a prediction carries a remark."""


@dataclass(frozen=True)
class Extrapolation:
    """Predictions of new runs, (rows,) each, in the target's unit."""

    value: Array
    low: Array
    high: Array
    parts: Mapping[str, Array]
    """`noise`, `parameters`, `form`: what each adds to the half-width; their squares add up to its square."""
    beyond: Array
    """How many times the largest fitted scale (compute) each run is; at most 1 inside."""
    typical: Array
    """The error to expect: half of such predictions are off by less."""
    method: str
    """`extrapolating`, or in words what of a law was used."""
    origins: int
    """How many rolling origins of this table the interval rests on; 0: on other tables alone."""
    wrongness: float
    """How wrong the form is on this table, 1 as on others; above 1.5 take care."""
    remarks: tuple[str, ...] = ()

    @property
    def how(self) -> str:
        """The method in words."""
        if self.method == "extrapolating":
            rests = f"{self.origins} extrapolations within this table" if self.origins else "other tables"
            return f"the extrapolating form, fitted towards the target; its interval rests on {rests}"
        return self.method

    def rows(self) -> list[dict[str, Any]]:
        """Plain values, one mapping a row: value, low, high, parts, beyond."""
        return [
            {
                "value": float(self.value[i]),
                "low": float(self.low[i]),
                "high": float(self.high[i]),
                "parts": {name: float(part[i]) for name, part in self.parts.items()},
                "beyond": float(self.beyond[i]),
            }
            for i in range(len(self.value))
        ]


class Extrapolator:
    """A table of runs from which others can be predicted; everything is fitted when first asked for."""

    def __init__(self, runs: LogRuns, make: Callable[[], Form], scale: TargetScale, method: str, learned: ErrorScale = LEARNED) -> None:
        if len(runs) < FEWEST:
            raise PliantError(f"{len(runs)} runs are too few to extrapolate from: {FEWEST} are needed")
        self.runs, self.make, self.scale, self.method, self.learned = runs, make, scale, method, learned

    @cached_property
    def fit(self) -> Origin:
        """The fit to all runs."""
        return origin(self.make, self.runs, np.ones(len(self.runs), dtype=bool))

    @cached_property
    def past(self) -> list[Errors]:
        """Rolling origins' errors."""
        return past_errors(self.make, self.runs, np.ones(len(self.runs), dtype=bool))

    @cached_property
    def posterior(self) -> Array:
        """How wrong the form is here, as probabilities of `scale.WRONGNESS`."""
        return self.learned.posterior(self.past)

    def draws(self, targets: LogRuns, count: int, seed: int = 0) -> Array:
        """What new runs at `targets` may measure, (count, rows), from the distribution that `predict` has intervals of."""
        y, errors = self.fit.predict(targets)
        generator = np.random.default_rng(seed)
        wrong = generator.choice(len(WRONGNESS), count, p=self.posterior)
        off = generator.standard_t(self.learned.freedom, (count, 1)) * self.learned.scales(errors)[:, wrong].T
        return self.scale.back(y + off)

    def predict(self, targets: LogRuns, confidence: float = 0.9) -> Extrapolation:
        """New runs at `targets` (whose y is not read)."""
        y, errors = self.fit.predict(targets)
        half = self.learned.half_width(errors, self.posterior, confidence)
        value, (low, high) = self.scale.back(y), self.scale.ends(y, half)
        middle = self.learned.half_width(errors, self.posterior, 0.5)
        less, more = self.scale.ends(y, middle)
        parts = {name: (high - low) / 2 * np.sqrt(share) for name, share in self.learned.shares(errors, self.posterior).items()}
        beyond = np.exp(np.clip(targets.size - self.runs.size.max(), -700, 700))
        wrongness = float(np.exp(WRONGNESS @ self.posterior))
        remarks = _remarks(len(self.past), wrongness, float(beyond.max(initial=0.0)))
        return Extrapolation(value, low, high, parts, beyond, (more - less) / 2, self.method, len(self.past), wrongness, remarks)


def extrapolate(
    table: Any,
    at: Mapping[str, Any],
    columns: Mapping[str, str] | None = None,
    where: str | None = None,
    *,
    clusters: str | None = None,
    residual: str = "log",
    confidence: float = 0.9,
    unit: str | None = None,
    learned: ErrorScale = LEARNED,
) -> Extrapolation:
    """Predict runs of a table of N, D and loss, or of compute and loss.

    Args:
        table: anything that `pliant.laws.fit` takes.
        at: the runs to predict, {"N": 7e9, "D": 140e9} or {"compute": 1e22}; numbers or arrays, and the clusters' column if named.
        columns: where N, D (or compute) and loss are found.
        where: an SQL condition that chooses rows.
        clusters: the column that names each run's model; equal N by default. LogRuns of one model share an error.
        residual: `difference` for a target that may be negative or rises.
        confidence: of the intervals.
        unit: `bits` converts the loss to nats.
        learned: constants of the error's scale.

    Raises PliantError for a table or targets that cannot be used.
    """
    law = COMPUTE if set(at) - {clusters} == {"compute"} else CHINCHILLA
    read = read_runs(law, table, columns=columns, where=where, unit=unit, texts=[clusters] if clusters else [], residual=residual)
    named = read.texts.get(clusters or "")
    maker = extrapolator(law, read.columns, read.target, named, residual == "log", learned)
    return maker.predict(targets_of(law, at, read.columns, clusters, named), confidence)


def extrapolator(
    law: Law, columns: Mapping[str, Array], target: Array, models: NDArray[np.str_] | None, logs: bool, learned: ErrorScale = LEARNED
) -> Extrapolator:
    """With the extrapolating form, for a law whose columns are its scale."""
    size = np.sum([np.log(columns[name]) for name in law.column_names], axis=0)
    scale = target_scale(target, size, logs)
    codes = model_numbers(law, columns, models, columns, models)
    runs = LogRuns(np.stack([np.log(columns[name]) for name in law.column_names], axis=1), size, scale(target), codes)
    return Extrapolator(runs, partial(PowerSum, len(law.column_names)), scale, "extrapolating", learned)


def targets_of(
    law: Law, at: Mapping[str, Any], known: Mapping[str, Array], clusters: str | None, models: NDArray[np.str_] | None
) -> LogRuns:
    """The runs that are asked for, as `extrapolator` takes them."""
    wanted, words = asked(law, at, clusters)
    logs = np.stack([np.log(wanted[name]) for name in law.column_names], axis=1)
    codes = model_numbers(law, known, models, wanted, words.get(clusters or ""))
    return LogRuns(logs, logs.sum(axis=1), np.full(len(logs), np.nan), codes)


def _remarks(origins: int, wrongness: float, beyond: float) -> tuple[str, ...]:
    remarks: list[str] = []
    if not origins:
        remarks.append("too few sizes to try the extrapolation on these runs: the interval rests on other tables alone")
    if wrongness > 1.5:
        remarks.append(
            f"extrapolations within these runs were {wrongness:.1f} times as far off as on other tables; the interval allows for it"
        )
    if beyond > FAR:
        remarks.append(f"{beyond:.3g} times beyond the largest run: few tables that the interval was learned on reach so far")
    return tuple(remarks)
