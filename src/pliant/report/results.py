"""Everything a report shows, read once: decisions, records, failures, studies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pliant.axes import Axis
from pliant.changes import recorded
from pliant.decide.curves.checkpoint import CheckpointDecision, decide
from pliant.decide.curves.labels import by_ladder
from pliant.decide.curves.series import in_natural_order, strengths
from pliant.errors import PliantError
from pliant.ledger.ledger import Ledger
from pliant.report.ties import Ties, ties
from pliant.study.answered import Answered, answer_each
from pliant.study.runs import Runs, records_of

MOST_RECORDS = 1000
"""Rows a report shows; the ledger has them all."""

TOTALS = """
select count(*) filter (status = 'ok') as finished, count(*) filter (status <> 'ok') as failed, list_sort(list(distinct study)) as studies,
    list_sort(list(distinct seed) filter (status = 'ok')) as seeds, coalesce(sum(seconds), 0) as seconds
from records"""


@dataclass(frozen=True)
class LadderDecisions:
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
        return {title: sorted(members, key=lambda one: strengths(one.change, one.tuned)) for title, members in found.items()}

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
    ladders: Sequence[LadderDecisions]
    undecided: str
    """Why there are no decisions, if there are none."""
    records: Sequence[dict[str, Any]] = field(repr=False)
    """The first `MOST_RECORDS`, in a stable order; likewise the failures."""
    failures: Sequence[dict[str, Any]] = field(repr=False)
    totals: dict[str, Any]
    """Of all records: how many are `finished` and how many `failed`, their `seeds` and the `seconds` spent on measuring."""
    studies: Sequence[dict[str, Any]] = field(repr=False)
    answers: Sequence[Answered] = ()
    """To the studies' questions, but for those that are drawn along the ladders."""
    ties: Sequence[Ties] = ()
    """Which checkpoints may be the best, by every measure after every change."""
    differences: Sequence[dict[str, Any]] = field(repr=False, default=())
    """What each change did, paired; the rows of `Ledger.differences`, with the `Change` itself under `change`."""


def _answers(source: Runs | Ledger | str | Path, ledger: Ledger) -> list[Answered]:
    """What the study whose runs these are asked, or every study of a ledger."""
    asked = [(study["name"], study.get("questions", ())) for study in ledger.studies()]
    if isinstance(source, Runs):
        asked = [(source.study.name, source.study.questions)]
    return [found for name, questions in asked for found in answer_each(questions, ledger.of(name), charted=False)]


def gather(source: Runs | Ledger | str | Path) -> Results:
    """Read a ledger. Raises PliantError for a folder that is none; a ledger without decisions is still a report."""
    ledger = source.ledger if isinstance(source, Runs) else records_of(source)
    decisions, undecided = [], ""
    try:
        decisions = decide(source)
    except PliantError as error:
        undecided = str(error)
    (totals,) = ledger.sql(TOTALS).to_pylist()
    return Results(
        name=", ".join(totals.pop("studies") or [ledger.folder.name]),
        ladders=[LadderDecisions(name, found) for name, found in by_ladder(decisions).items()],
        undecided=undecided,
        records=_first(ledger, "ok"),
        failures=_first(ledger, "failed"),
        totals=totals,
        studies=ledger.studies(),
        answers=_answers(source, ledger),
        ties=ties(ledger),
        differences=[row | {"change": recorded(row["change_json"])} for row in ledger.differences().to_pylist()],
    )


def _first(ledger: Ledger, status: str) -> list[dict[str, Any]]:
    order = "study, checkpoint, position, change_json, measure, metric, seed, draw"
    rows = ledger.sql(f"select * from records where status = '{status}' order by {order} limit {MOST_RECORDS}").to_pylist()
    return [row | {"change": recorded(row["change_json"])} for row in in_natural_order(rows, ["study", "checkpoint", "position"])]
