"""A ledger of pliant: every checkpoint, and every change of one, is a system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pliant.changes import recorded
from pliant.comparison.outcomes import Outcomes, System
from pliant.ledger.ledger import Ledger
from pliant.measures.measure import documents
from pliant.spec import digest

RECORDS = """
select study, checkpoint, change_json, measure, measure_json, metric, unit, better, data, seed, draw,
    sample_ids, sample_values, sample_weights, sample_clusters
from shards order by position, checkpoint, change_kind <> 'none', change_json, measure, metric, seed, draw"""


def knows(path: Path) -> bool:
    """A folder with a ledger's marker."""
    return path.is_dir() and (path / "ledger.json").is_file()


def read(path: Path) -> list[System]:
    """The systems of a ledger, in the order of their checkpoints. Raises PliantError for a damaged one."""
    return of_ledger(Ledger(path), str(path))


def of_ledger(ledger: Ledger, source: str) -> list[System]:
    """The systems of an open ledger, or of a part of one."""
    from pliant.ledger.views import connect

    with connect(ledger) as connection:
        records = connection.sql(RECORDS).to_arrow_table().to_pylist()
    systems: dict[str, dict[tuple[str, str], list[Mapping[str, Any]]]] = {}
    for record in records:
        change = recorded(record["change_json"])
        name = record["checkpoint"] if change.unchanged else f"{record['checkpoint']} | {change.name()}"
        task = f"{record['measure']} {digest(record['measure_json'])[:6]}"
        systems.setdefault(name, {}).setdefault((task, record["metric"]), []).append(record)
    short = _short(records)
    return [
        System(name, source, {(short[task], metric): _outcomes(short[task], metric, found) for (task, metric), found in tasks.items()})
        for name, tasks in systems.items()
    ]


def _short(records: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """A measure's name alone, where it was read in one way only."""
    ways: dict[str, set[str]] = {}
    for record in records:
        ways.setdefault(record["measure"], set()).add(digest(record["measure_json"])[:6])
    return {f"{name} {way}": name if len(found) == 1 else f"{name} {way}" for name, found in ways.items() for way in found}


def _outcomes(task: str, metric: str, records: Sequence[Mapping[str, Any]]) -> Outcomes:
    first = records[0]
    items = [item for record in records for item in record["sample_ids"]]
    several = len({(record["seed"], record["draw"]) for record in records}) > 1
    runs = [f"seed {record['seed']}, draw {record['draw']}" for record in records for _ in record["sample_ids"]] if several else []
    clusters = [record["sample_clusters"] or documents(record["sample_ids"]) for record in records]
    return Outcomes(
        task,
        metric,
        items,
        np.concatenate([np.asarray(record["sample_values"], np.float64) for record in records]),
        first["better"],
        first["unit"],
        repeats=runs,
        families=[str(cluster) for found in clusters for cluster in found],
        weights=np.concatenate([np.asarray(record["sample_weights"], np.float64) for record in records]),
        facts={"data": str(first["data"])},
    )
