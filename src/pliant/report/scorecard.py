"""What a changed model can still be trusted with: every test of trust that the data allows, before and after, on the same items.

Idea: a measure says of itself that it is a test of trust, by which metrics, and what data it needs (`Measure.trust`, `needs`, `on`);
nothing here knows any of them by name. Each is read off both models, one model in memory at a time, and the difference is taken item by
item, with an interval, the smallest difference it would have found, and a p-value; over all metrics together q is the false-discovery
rate (Benjamini and Hochberg) at which a difference counts. What could not be tested is listed, with the reason.
Cost: the measures, twice.
What goes wrong: a test that finds nothing may be too small to: read `mde`. Metrics of one test are read off the same items.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pliant.comparison.compare import compared
from pliant.comparison.many import false_discovery
from pliant.comparison.outcomes import OVER_ALL, Outcomes, System
from pliant.comparison.row import Row
from pliant.errors import PliantError
from pliant.measures import MEASURES, Measure, Reading
from pliant.spec import nearest

if TYPE_CHECKING:
    from pliant.models import Model

BEFORE, AFTER = "before", "after"
Opened = Callable[[str], "Model"]


@dataclass(frozen=True)
class Scorecard:
    """The rows of a card, and what was not tested, by test with the reason."""

    before: str
    after: str
    rows: Sequence[Row]
    untested: Mapping[str, str]

    def json(self) -> list[dict[str, Any]]:
        """A row for each test and metric; of what was not tested one that says why, and has no numbers."""
        told: list[dict[str, Any]] = [_document(row) for row in self.rows]
        numbers = dict.fromkeys(("before", "after", "difference", "low", "high", "mde", "n", "p", "better", "q", "verdict"))
        return told + [{"test": name, "metric": None, **numbers, "not_tested": why} for name, why in self.untested.items()]


def trust_measures() -> dict[str, type[Measure]]:
    """Every measure that says it is one, by its kind."""
    return {name: kind for name, kind in MEASURES.entries().items() if kind.trust}


def chosen(tests: Sequence[Any], data: Sequence[str]) -> tuple[dict[str, Measure], dict[str, str]]:
    """The measures to read, and why others are not.

    Args:
        tests: Kinds of tests of trust, or measures in any form that a study file may use; none for every kind.
        data: Sources: each kind takes the first that it can read.

    Raises PliantError for a test that there is not, and for a source that cannot be read.
    """
    kinds = trust_measures()
    found: dict[str, Measure] = {}
    untested: dict[str, str] = {}
    for test in tests or list(kinds):
        if isinstance(test, str):
            if test not in kinds:
                raise PliantError(f"--tests: {test[:40]!r} is no test of trust; {nearest(test, kinds)}")
            measures = [measure for source in data if (measure := kinds[test].on(source)) is not None]
            if measures:
                found[test] = measures[0]
            else:
                untested[test] = f"no data for it; it needs {kinds[test].needs}"
            continue
        measure = MEASURES.parse(test, "--tests")
        if not measure.trust:
            raise PliantError(f"--tests: {measure.kind} is no test of trust; {nearest(measure.kind, kinds)}")
        found[measure.kind] = measure
    return found, {name: why for name, why in untested.items() if name not in found}


def scorecard(
    before: str,
    after: str,
    tests: Sequence[Any] = (),
    data: Sequence[str] = (),
    *,
    load: Opened,
    margin: float = 0.0,
    confidence: float = 0.9,
) -> Scorecard:
    """The card of two models, each opened once by `load`.

    A test that one of the models cannot take is listed as not tested. Raises PliantError for models that cannot be loaded, and where
    nothing could be tested.
    """
    measures, untested = chosen(tests, data)
    systems: dict[str, System] = {}
    for name, address in ((BEFORE, before), (AFTER, after)):
        model = load(address) if measures else None
        readings: dict[str, Sequence[Reading]] = {}
        for kind, measure in list(measures.items()):
            try:
                assert model is not None
                readings[kind] = measure.readings(model)
            except PliantError as error:
                untested[kind] = str(error)
                del measures[kind]
        systems[name] = _system(name, address, readings, measures)
        del model
    if not measures:
        raise PliantError("nothing could be tested: " + "; ".join(f"{name}: {why}" for name, why in untested.items()))
    kept = {name: replace(system, outcomes=_only(system.outcomes, measures)) for name, system in systems.items()}
    rows = [row for row in compared([kept[BEFORE], kept[AFTER]], margin, None, confidence).rows if row.task != OVER_ALL]
    rates = false_discovery([row.p for row in rows])
    return Scorecard(before, after, [replace(row, q=rate) for row, rate in zip(rows, rates, strict=True)], untested)


def _system(name: str, address: str, readings: Mapping[str, Sequence[Reading]], measures: Mapping[str, Measure]) -> System:
    found: dict[tuple[str, str], Outcomes] = {}
    for kind, told in readings.items():
        for reading in told:
            if reading.metric in measures[kind].trust:
                found[kind, reading.metric] = _outcomes(kind, reading)
    return System(name, address, found)


def _outcomes(kind: str, reading: Reading) -> Outcomes:
    families = [str(cluster) for cluster in reading.clusters]
    values, weights = (np.asarray(column, np.float64) for column in (reading.values, reading.weights))
    return Outcomes(
        kind, reading.metric, list(reading.samples), values, reading.better, reading.unit, families=families, weights=weights,
        facts={"data": reading.data},
    )  # fmt: skip


def _only(outcomes: Mapping[tuple[str, str], Outcomes], measures: Mapping[str, Measure]) -> dict[tuple[str, str], Outcomes]:
    """Without tests that only one of the models took."""
    return {key: found for key, found in outcomes.items() if key[0] in measures}


def _document(row: Row) -> dict[str, Any]:
    effect = row.effect
    return {
        "test": row.task,
        "metric": row.metric,
        "before": row.a_value,
        "after": row.b_value,
        "difference": effect.value,
        "low": effect.low,
        "high": effect.high,
        "mde": row.mde,
        "n": effect.n,
        "p": row.p,
        "better": row.better,
        "q": row.q,
        "verdict": row.verdict,
        "notes": list(row.notes),
    }
