"""One row of a ledger: which weights, which change, which measure, what came out, and the samples behind it."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pliant.errors import PliantError
from pliant.files import as_utf8
from pliant.statistics import Array

if TYPE_CHECKING:
    from pliant.models import Checkpoint

Table: TypeAlias = Any
"""A `pyarrow.Table`; pyarrow ships no types."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What one measure said about one checkpoint after one draw of one change.

    A field is a column of the ledger under the same name. `value` and `stderr` are in `unit`; the per-sample values they
    are made from travel in `sample_ids`, `sample_values` and `sample_weights` (equal lengths), what was answered in
    `sample_answers`. A record whose `status` is `failed` has its reason in `error` and no value. A measure with several
    readings has a record for each, told apart by `metric`.
    """

    study: str
    checkpoint: str
    """The checkpoint's address."""
    weights: str | None = None
    """Content hash of the weights that were measured; of all of them, where samples were read off several."""
    base_weights: str | None = None
    """Content hash of the weights before the change; what differences are paired on."""
    params: int | None = None
    params_non_embedding: int | None = None
    tokens: int | None = None
    unique_tokens: int | None = None
    peak_lr: float | None = None
    final_lr: float | None = None
    schedule: str | None = None
    phase: str | None = None
    training_bits: float | None = None
    axis: str | None = None
    """What the checkpoint's ladder runs over, see `pliant.axes`; of records from before there were axes, tokens."""
    position: float | None = None
    """Where on it the checkpoint lies."""
    training_seed: int | None = None
    """The seed the checkpoint was trained with, where it is known."""
    change_kind: str
    change_json: str
    """Canonical JSON of the change, with its kind."""
    measure: str
    """The name the study gives the measure."""
    measure_json: str
    """Canonical JSON of the measure, with its kind."""
    metric: str | None = None
    value: float | None = None
    stderr: float | None = None
    n: int | None = None
    """Samples behind the value."""
    unit: str | None = None
    better: str | None = None
    """Whether a higher or a lower value is better."""
    seed: int
    draw: int = 0
    data: str | None = None
    """Fingerprint of the data that was read."""
    status: str = "ok"
    error: str | None = None
    seconds: float | None = None
    """Wall time of this record's measure; the only column that may differ between two runs of a study."""
    device: str | None = None
    dtype: str | None = None
    cell: str
    """Names the (checkpoint, change, seed) this record is of."""
    key: str
    """Names the record's content: its cell and its measure. Draws share it, and the metrics of one measure."""
    sample_ids: Sequence[str] = field(default=(), repr=False)
    sample_values: Sequence[float] | Array = field(default=(), repr=False)
    sample_weights: Sequence[float] | Array = field(default=(), repr=False)
    sample_clusters: Sequence[int] | NDArray[np.int64] | None = field(default=None, repr=False)
    """What each sample counts with in an error; None where that is its document, as its id has it."""
    sample_answers: Sequence[str] | None = field(default=None, repr=False)
    """What the model answered to each sample; None where the measure keeps no answers."""


FACTS = (
    "params",
    "params_non_embedding",
    "tokens",
    "unique_tokens",
    "peak_lr",
    "final_lr",
    "schedule",
    "phase",
    "training_bits",
)
"""What a record says of its checkpoint, under the names that `Checkpoint` has for it."""


def stated_facts(checkpoint: Checkpoint, axis: str) -> dict[str, Any]:
    """What is known of a checkpoint of a ladder along `axis`, as columns."""
    stated = {fact: getattr(checkpoint, fact) for fact in FACTS} | {"training_seed": checkpoint.seed}
    stated |= {"axis": axis, "position": getattr(checkpoint, axis)}
    return {"checkpoint": as_utf8(checkpoint.address)} | {column: value for column, value in stated.items() if value is not None}


LATER = ("axis", "position", "better", "sample_clusters", "sample_answers")
"""Columns that records of earlier versions lack."""

SAMPLE_COLUMNS = ("sample_ids", "sample_values", "sample_weights", "sample_clusters", "sample_answers")


@cache
def arrow_schema() -> Any:
    """The shards' columns, in the order of `Record`'s fields."""
    import pyarrow as pa

    scalars = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    inside: dict[str, Any] = {"sample_ids": pa.string(), "sample_clusters": pa.int64(), "sample_answers": pa.string()}
    lists = {name: pa.list_(inside.get(name, pa.float64())) for name in SAMPLE_COLUMNS}
    columns: list[tuple[str, Any]] = []
    for name, annotation in typing.get_type_hints(Record).items():
        alternatives = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
        columns.append((name, lists[name] if name in lists else scalars[alternatives[0]]))
    return pa.schema(columns)


def arrow_table(records: Sequence[Record]) -> Table:
    """The records as an Arrow table of `arrow_schema()`. Raises PliantError for values that its columns cannot hold."""
    import pyarrow as pa

    columns = {name: [getattr(record, name) for record in records] for name in arrow_schema().names}
    columns["stderr"] = [None if error is None or math.isnan(error) else error for error in columns["stderr"]]  # one document has none
    try:
        return pa.table(columns, schema=arrow_schema())
    except UnicodeEncodeError:  # names from a locale without UTF-8
        columns = {name: [as_utf8(value) if isinstance(value, str) else value for value in column] for name, column in columns.items()}
        return pa.table(columns, schema=arrow_schema())
    except (pa.ArrowException, OverflowError, TypeError) as error:
        raise PliantError(f"these records cannot be kept: {error}") from None
