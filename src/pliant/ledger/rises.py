"""What a change did: the rise of a measure against the unchanged checkpoint, on the same samples.

Idea: the changed and the unchanged model read the same samples, so the difference is taken sample by sample, which removes
the samples' own spread. The draws of one change are averaged; the standard error counts documents and draws, both. Draws that
read shares of the samples (`split`) count with what ties samples together, see `pliant.measures.shares`.
Cost: about 0.1 ms per (checkpoint, change, measure, seed).
What goes wrong: rises of a few documents have a standard error that is itself uncertain; look at `n`.
Source: cluster-robust ratio estimator and crossed variance components, see `pliant.statistics`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pliant.changes.perturb import antithetic, shares_of
from pliant.ledger.record import SAMPLE_COLUMNS, Record, Table
from pliant.measures.measure import documents
from pliant.measures.shares import clusters
from pliant.statistics import Array, crossed_error, weighted_mean

if TYPE_CHECKING:
    from pliant.ledger.ledger import Ledger

OWN = {"weights", "measure_json", "value", "stderr", "n", "draw", "status", "error", "seconds", "device", "dtype", "cell", "key"}
COLUMNS = [field.name for field in dataclasses.fields(Record) if field.name not in {*OWN, *SAMPLE_COLUMNS}]
"""What the draws of one change on one checkpoint share, and a rise carries over from them."""
UNCHANGED = """
create temp table unchanged as select row_number() over () - 1 as number, *
from (from shards where change_kind = 'none' qualify row_number() over (partition by base_weights, measure, measure_json, data) = 1)"""
CHANGED = f"""
select {", ".join(f"changed.{column}" for column in COLUMNS)}, changed.key, unchanged.number, unchanged.value as base,
    changed.sample_values,
    changed.sample_ids = unchanged.sample_ids and changed.sample_weights = unchanged.sample_weights as paired
from shards as changed join unchanged using (base_weights, measure, measure_json, data)
where changed.change_kind <> 'none'
order by changed.study, changed.checkpoint, changed.tokens, changed.change_json, changed.measure, changed.seed, changed.key, changed.draw"""


def rises(ledger: Ledger) -> Table:
    """One row per (checkpoint, change, measure, seed): `base`, `value`, `rise`, `stderr` (all in `unit`), `n` samples, `draws`.

    `rise` is `value - base`, the weighted mean over samples and draws. It is null where the two did not read the same
    samples, and `stderr` is null where there is one document only.
    """
    import pyarrow as pa

    from pliant.ledger.views import connect

    with connect(ledger) as connection:
        connection.execute(UNCHANGED)
        unchanged = connection.sql("select sample_ids, sample_values, sample_weights from unchanged order by number").to_arrow_table()
        changed = connection.sql(CHANGED).to_arrow_table().combine_chunks()
    references = [_Unchanged(row) for row in unchanged.to_pylist()]
    found: dict[str, list[Any]] = {name: [] for name in ("value", "rise", "stderr", "n", "draws")}
    firsts: list[int] = []
    values, numbers, paired = _rows(changed["sample_values"]), changed["number"].to_pylist(), changed["paired"].to_pylist()
    changes = changed["change_json"].to_pylist()
    forms = {text: json.loads(text) for text in set(changes)}
    for group in _runs(changed["key"].to_pylist()):
        firsts.append(group.start)
        same = all(paired[group])
        form, reference = forms[changes[group.start]], references[numbers[group.start]]
        rise = reference.rise(values[group], antithetic(form), shares_of(form)) if same else dict.fromkeys(found)
        for name, column in found.items():
            column.append(rise[name])
    types = {"n": pa.int64(), "draws": pa.int64()}
    answer = changed.select([*COLUMNS, "base"]).take(pa.array(firsts, pa.int64()))
    for name, column in found.items():
        answer = answer.append_column(name, pa.array(column, types.get(name, pa.float64()), from_pandas=True))
    return answer


class _Unchanged:
    """One unchanged reading, ready to be subtracted."""

    def __init__(self, row: dict[str, Any]) -> None:
        self.values: Array = np.asarray(row["sample_values"], dtype=np.float64)
        self.weights: Array = np.asarray(row["sample_weights"], dtype=np.float64)
        self.documents = documents(row["sample_ids"])
        self._clusters: dict[int, NDArray[np.int64]] = {}

    def clusters(self, shares: int) -> NDArray[np.int64]:
        """What each sample counts with, where the draws read so many shares of the samples."""
        if shares not in self._clusters:
            self._clusters[shares] = clusters(self.documents, shares)
        return self._clusters[shares]

    def rise(self, draws: list[Array], mirrored: bool, shares: int) -> dict[str, float | int]:
        """The draws' mean rise over this reading. Draws 2k and 2k + 1 of noise mirror each other and count as one."""
        differences = np.stack(draws) - self.values
        if mirrored and len(draws) % 2 == 0:
            differences = differences.reshape(-1, 2, len(self.values)).mean(axis=1)
        rise = weighted_mean(differences.mean(axis=0), self.weights)
        error = crossed_error(differences, self.weights, self.clusters(shares))
        value = rise + weighted_mean(self.values, self.weights)
        return {"value": value, "rise": rise, "stderr": error, "n": len(self.values), "draws": len(draws) * shares}


def _rows(column: Any) -> list[Array]:
    """A column of lists as views into one array of numbers."""
    if not len(column):
        return []
    lists = column.combine_chunks()
    offsets = lists.offsets.to_numpy()
    return np.split(lists.values.to_numpy(), offsets[1:-1])


def _runs(keys: list[str]) -> Iterator[slice]:
    """Where equal neighbours stand together."""
    start = 0
    for end in range(1, len(keys) + 1):
        if end == len(keys) or keys[end] != keys[start]:
            yield slice(start, end)
            start = end
