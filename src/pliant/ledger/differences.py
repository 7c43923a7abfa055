"""What a change did: a measure's difference from the unchanged checkpoint, on the same samples.

Idea: the changed and the unchanged model read the same samples, so the difference is taken sample by sample, which removes
the samples' own spread (`statistics.paired_difference`). `rises` has a row for each seed, `differences` one over all seeds of a
change, which is what is shown, drawn and decided by. Where a change's draws tie samples together, its records say what each sample
counts with (`pliant.ledger.clusters`); that matters for a single seed, several show by themselves how much draws differ.
Cost: about 0.1 ms per (checkpoint, change, measure, seed).
What goes wrong: differences of a few documents have a standard error that is itself uncertain; look at `n`.
Source: cluster-robust ratio estimator and crossed variance components, see `pliant.statistics`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from pliant.changes import Change, recorded
from pliant.ledger.clusters import clusters_of, tied_by
from pliant.ledger.record import SAMPLE_COLUMNS, Record, Table
from pliant.measures.measure import documents
from pliant.statistics import Array, joint_clusters, paired_difference, weighted_mean

if TYPE_CHECKING:
    import duckdb

OWN = {"weights", "measure_json", "value", "stderr", "n", "draw", "status", "error", "seconds", "device", "dtype", "cell", "key"}
COLUMNS = [field.name for field in dataclasses.fields(Record) if field.name not in {*OWN, *SAMPLE_COLUMNS}]
"""What the draws of one change on one checkpoint share, and a difference carries over from them."""
FOUND = ("value", "rise", "stderr", "low", "high", "n", "draws", "seeds")
PAIR = "base_weights, measure, measure_json, metric, data"
UNCHANGED = f"""
create or replace temp table unchanged as select row_number() over () - 1 as number, *
from (from shards where change_kind = 'none' qualify row_number() over (partition by {PAIR}) = 1)"""
CHANGED = f"""
select {", ".join(f"changed.{column}" for column in COLUMNS)}, changed.key, unchanged.number, unchanged.value as base,
    changed.sample_values, changed.sample_clusters,
    changed.sample_ids = unchanged.sample_ids and changed.sample_weights = unchanged.sample_weights as paired
from shards as changed join unchanged using ({PAIR})
where changed.change_kind <> 'none'
order by changed.study, changed.checkpoint, changed.position, changed.change_json, changed.measure, changed.metric,
    changed.base_weights, changed.measure_json, changed.data, changed.seed, changed.key, changed.draw"""


def rises(connection: duckdb.DuckDBPyConnection) -> Table:
    """One row per (checkpoint, change, measure, metric, seed): `base`, `value`, `rise`, `stderr`, `low`, `high` (all in `unit`),
    `n` samples, `draws`.

    `rise` is `value - base`, the weighted mean over samples and draws; `low` and `high` are its 90% interval. It is null where
    the two did not read the same samples, and `stderr` is null where there is one document only. `connection` has the ledger's views.
    """
    return _differences(connection, by_seed=True)


def differences(connection: duckdb.DuckDBPyConnection) -> Table:
    """The same over all seeds of a change on one checkpoint, with their number in `seeds`; `seed` is the first of them."""
    return _differences(connection, by_seed=False)


def _differences(connection: duckdb.DuckDBPyConnection, by_seed: bool) -> Table:
    import pyarrow as pa

    connection.execute(UNCHANGED)
    unchanged = connection.sql(f"select {', '.join(SAMPLE_COLUMNS)} from unchanged order by number").to_arrow_table()
    changed = connection.sql(CHANGED).to_arrow_table().combine_chunks()
    references = [_Unchanged(row) for row in unchanged.to_pylist()]
    columns = changed.select(["seed", "key", "number", "paired", "change_json", "study", "checkpoint", "metric"]).to_pydict()
    values = _rows(changed["sample_values"])
    found: dict[str, list[Any]] = {name: [] for name in FOUND}
    firsts: list[int] = []
    for rows in _groups(columns, by_seed):
        firsts.append(rows[0])
        seeds = [[values[row] for row in draws] for _, draws in groupby(rows, key=lambda row: columns["key"][row])]
        same = all(columns["paired"][row] for row in rows)
        change, reference = recorded(columns["change_json"][rows[0]]), references[columns["number"][rows[0]]]
        stored = [changed["sample_clusters"][row].as_py() for row in rows]
        difference = reference.difference(seeds, change, stored) if same else dict.fromkeys(found)
        for name, column in found.items():
            column.append(difference[name])
    types = {"n": pa.int64(), "draws": pa.int64(), "seeds": pa.int64()}
    answer = changed.select([*COLUMNS, "base"]).take(pa.array(firsts, pa.int64()))
    for name, column in found.items():
        answer = answer.append_column(name, pa.array(column, types.get(name, pa.float64()), from_pandas=True))
    return answer.drop_columns(["seeds"]) if by_seed else answer


class _Unchanged:
    """One unchanged reading, ready to be subtracted."""

    def __init__(self, row: dict[str, Any]) -> None:
        self.values: Array = np.asarray(row["sample_values"], dtype=np.float64)
        self.weights: Array = np.asarray(row["sample_weights"], dtype=np.float64)
        self.documents = documents(row["sample_ids"])
        self.clusters = clusters_of(row["sample_clusters"], self.documents)

    def difference(self, seeds: list[list[Array]], change: Change, stored: Sequence[Sequence[int] | None]) -> dict[str, float | int]:
        """What the draws of each seed are above this reading, over the draws that all seeds have; `stored` are the clusters of each."""
        draws = min(len(values) for values in seeds)
        after = np.stack([np.stack(values[:draws]) for values in seeds])
        before = np.broadcast_to(self.values, (len(seeds), len(self.values)))
        clusters = self.clusters
        for numbers in stored if len(seeds) == 1 else ():  # several seeds show by themselves how much draws differ
            if (tied := tied_by(change, numbers, self.documents)) is not None:
                clusters = joint_clusters(clusters, tied)
        rise = paired_difference(after, before, self.weights, clusters, mirrored=change.mirrored)
        told = {"rise": rise.value, "stderr": rise.stderr, "low": rise.low, "high": rise.high, "n": rise.n}
        return told | {
            "value": rise.value + weighted_mean(self.values, self.weights),
            "draws": draws * change.draws // change.repeats,
            "seeds": len(seeds),
        }


def _rows(column: Any) -> list[Array]:
    """A column of lists as views into one array of numbers."""
    if not len(column):
        return []
    lists = column.combine_chunks()
    offsets = lists.offsets.to_numpy()
    return np.split(lists.values.to_numpy(), offsets[1:-1])


def _groups(columns: dict[str, list[Any]], by_seed: bool) -> Iterator[list[int]]:
    """Rows of one difference, which stand together: those of one key, or of one change on one checkpoint under any seed."""
    names = ("study", "checkpoint", "change_json", "number", *(("key",) if by_seed else ()))
    for _, rows in groupby(range(len(columns["key"])), key=lambda row: tuple(columns[name][row] for name in names)):
        yield list(rows)
