"""Everything a report shows, read once: decisions, records, failures, studies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pliant.axes import Axis
from pliant.changes import recorded
from pliant.decide.curves.checkpoint import CheckpointDecision, decide
from pliant.decide.curves.labels import by_ladder
from pliant.decide.curves.series import weakness
from pliant.errors import PliantError

if TYPE_CHECKING:
    from pliant.ledger.ledger import Ledger
    from pliant.study.runs import Runs

MOST_RECORDS = 1000
"""Rows a report shows; the ledger has them all."""

TOTALS = """
select count(*) filter (status = 'ok') as finished, count(*) filter (status <> 'ok') as failed, list_sort(list(distinct study)) as studies,
    list_sort(list(distinct seed) filter (status = 'ok')) as seeds, coalesce(sum(seconds), 0) as seconds
from records"""


@dataclass(frozen=True)
class Ladder:
    """The decisions along one ladder, unchanged checkpoints first, and what to call it among the others."""

    name: str
    decisions: Sequence[CheckpointDecision]

    def of(self, measure: str) -> list[CheckpointDecision]:
        """Those of one measure."""
        return [found for found in self.decisions if found.metric == measure]

    @property
    def measures(self) -> list[str]:
        """Their names, the one that most changes were judged by first."""
        names = list(dict.fromkeys(found.metric for found in self.decisions))
        return sorted(names, key=lambda name: -len(self.of(name)))

    def families(self, measure: str) -> dict[str, list[CheckpointDecision]]:
        """The changed checkpoints' decisions of one measure by what the changes are called, from weak to strong."""
        found: dict[str, list[CheckpointDecision]] = {}
        for decision in self.of(measure):
            if not decision.change.unchanged:
                found.setdefault(decision.change.title(), []).append(decision)
        return {title: sorted(members, key=lambda one: weakness(one.change, one.tuned)) for title, members in found.items()}

    def unchanged(self, measure: str) -> CheckpointDecision | None:
        """The unchanged checkpoints' decision."""
        return next((found for found in self.of(measure) if found.change.unchanged), None)

    @property
    def axis(self) -> Axis:
        """What it runs over."""
        return self.decisions[0].axis


@dataclass(frozen=True)
class Results:
    """What a ledger holds, as far as a report shows it."""

    name: str
    ladders: Sequence[Ladder]
    undecided: str
    """Why there are no decisions, if there are none."""
    records: Sequence[dict[str, Any]] = field(repr=False)
    """The first `MOST_RECORDS`, in a stable order; likewise the failures."""
    failures: Sequence[dict[str, Any]] = field(repr=False)
    totals: dict[str, Any]
    """Of all records: how many are `finished` and how many `failed`, their `seeds` and the `seconds` spent on measuring."""
    studies: Sequence[dict[str, Any]] = field(repr=False)
    differences: Sequence[dict[str, Any]] = field(repr=False, default=())
    """What each change did, paired; the rows of `Ledger.differences`, with the `Change` itself under `change`."""


def gather(source: Runs | Ledger | str | Path) -> Results:
    """Read a ledger. Raises PliantError for a folder that is none; a ledger without decisions is still a report."""
    from pliant.ledger.ledger import Ledger as OpenLedger

    ledger = OpenLedger(source) if isinstance(source, (str, Path)) else source if isinstance(source, OpenLedger) else source.ledger
    decisions, undecided = [], ""
    try:
        decisions = decide(source)
    except PliantError as error:
        undecided = str(error)
    (totals,) = ledger.sql(TOTALS).to_pylist()
    return Results(
        name=", ".join(totals.pop("studies") or [ledger.folder.name]),
        ladders=[Ladder(name, found) for name, found in by_ladder(decisions).items()],
        undecided=undecided,
        records=_first(ledger, "ok"),
        failures=_first(ledger, "failed"),
        totals=totals,
        studies=ledger.studies(),
        differences=[row | {"change": recorded(row["change_json"])} for row in ledger.differences().to_pylist()],
    )


def _first(ledger: Ledger, status: str) -> list[dict[str, Any]]:
    order = "study, checkpoint, position, change_json, measure, seed, draw"
    rows = ledger.sql(f"select * from records where status = '{status}' order by {order} limit {MOST_RECORDS}").to_pylist()
    return [row | {"change": recorded(row["change_json"])} for row in rows]
