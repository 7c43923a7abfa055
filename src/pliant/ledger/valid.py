"""What records must be like to be kept or read: the rules of `Record`, for a whole table at once.

Idea: records are looked through once, before they are written; the seal of the file vouches for them from then on. Files
without a seal are looked through when they are read.
Cost: 1 ms for a cell; 2 s for a million records of eight samples.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from pliant.errors import PliantError
from pliant.files import as_utf8
from pliant.ledger.record import LATER, SAMPLE_COLUMNS, Record, Table, arrow_schema
from pliant.spec.yaml import parse_json

COUNTS = ("params", "params_non_embedding", "tokens", "unique_tokens", "n", "seed", "draw")
NOT_NEGATIVE = (*COUNTS, "peak_lr", "final_lr", "training_bits", "stderr", "seconds", "sample_weights", "sample_clusters")
MEASURED = ("value", "n", "metric", "unit")
"""What a finished record has."""
STATUSES = ("ok", "failed")
PLACE = ("key", "metric", "draw")
"""What no two records have in common."""


def check(table: Table) -> None:
    """Raises PliantError for records that no ledger can keep."""
    if problem := wrong_schema(table.schema) or wrong_rows(table):
        raise PliantError(f"these records cannot be kept: {problem}")


def wrong_file(path: Path, status: str) -> str | None:
    """What is wrong with the content of a Parquet file of records that all have one status; None for nothing."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(as_utf8(path)) as file:
            if problem := wrong_schema(file.schema_arrow):
                return problem
            for batch in file.iter_batches():
                table = pa.Table.from_batches([batch])
                found = table["status"].unique().to_pylist()
                if problem := wrong_rows(table) or (f"status {found[0]!r} is not for this folder" if found not in ([], [status]) else None):
                    return problem
    except (pa.ArrowException, ValueError, EOFError) as error:
        return str(error).splitlines()[0][:200] if str(error) else "it is no Parquet file"
    except OSError as error:
        if error.errno is not None:
            raise
        return str(error).splitlines()[0][:200]  # Arrow's word for a page that cannot be unpacked
    return None


def wrong_schema(schema: Any) -> str | None:
    """What is wrong with the columns of a table of records: their names and types; None for nothing."""
    wanted, found = {field.name: field.type for field in arrow_schema()}, schema.names
    wanted = {name: kind for name, kind in wanted.items() if name in found or name not in LATER}
    if missing := [name for name in wanted if name not in found]:
        return f"without the column {missing[0]!r}"
    if len(set(found)) < len(found) or len(found) > len(wanted):
        return f"unknown or repeated columns: {', '.join(sorted(name for name in found if name not in wanted or found.count(name) > 1))}"
    other = [name for name, kind in wanted.items() if not _same(kind, schema.field(name).type)]
    return f"column {other[0]!r} is {schema.field(other[0]).type}, not {wanted[other[0]]}" if other else None


def _same(one: Any, other: Any) -> bool:
    import pyarrow as pa

    return _same(one.value_type, other.value_type) if pa.types.is_list(one) and pa.types.is_list(other) else one == other


def wrong_rows(table: Table) -> str | None:
    """What is wrong with the values of a table of records; None for nothing."""
    import pyarrow as pa

    try:
        table.validate(full=True)  # text that is no UTF-8, lists that reach beyond their ends
    except pa.ArrowException as error:
        return str(error).splitlines()[0][:200]
    table = table.combine_chunks()
    return next((problem for rule in RULES if (problem := rule(table))), None)


def _compute() -> Any:
    """Arrow's functions, which it makes as it is imported, so that no type checker knows them."""
    return import_module("pyarrow.compute")


@cache
def _required() -> list[str]:
    hints = typing.get_type_hints(Record)
    return [name for name, annotation in hints.items() if not isinstance(annotation, types.UnionType)]


def _nulls(table: Table) -> str | None:
    pc = _compute()

    if name := next((name for name in _required() if table[name].null_count), None):
        return f"a null in {name!r}"
    if name := next((name for name in SAMPLE_COLUMNS if name in table.column_names and pc.list_flatten(table[name]).null_count), None):
        return f"a null among {name!r}"
    if not any(table[name].null_count for name in MEASURED):
        return None
    finished = table.select(MEASURED).filter(pc.equal(table["status"], "ok"))
    name = next((name for name in MEASURED if finished[name].null_count), None)
    return f"a null in {name!r} of a finished record" if name else None


def _statuses(table: Table) -> str | None:
    unknown = sorted(set(table["status"].unique().to_pylist()) - set(STATUSES))
    return f"unknown status {unknown[0]!r}" if unknown else None


def _numbers(table: Table) -> str | None:
    import pyarrow as pa

    pc = _compute()

    for field in arrow_schema():
        if field.name not in table.column_names:
            continue
        column = pc.list_flatten(table[field.name]) if pa.types.is_list(field.type) else table[field.name]
        if pa.types.is_floating(column.type) and pc.any(pc.invert(pc.is_finite(column))).as_py():
            return f"a value that is no number in {field.name!r}"
        if field.name in NOT_NEGATIVE and (pc.min(column).as_py() or 0) < 0:
            return f"a negative number in {field.name!r}"
    return None


def _samples(table: Table) -> str | None:
    pc = _compute()

    ids, *others = (pc.list_value_length(table[name]).to_numpy() for name in SAMPLE_COLUMNS if name in table.column_names)
    others[2:] = [np.where(np.isnan(lengths), ids, lengths) for lengths in others[2:]]  # clusters and answers may be left out
    if not all(np.array_equal(ids, other) for other in others):
        return "ids, values, weights, clusters or answers of samples in unequal numbers"
    counts = table["n"].to_numpy()
    if (counts[ids > 0] != ids[ids > 0]).any():
        return "'n' is not the number of samples"
    names = pc.list_flatten(table["sample_ids"]).combine_chunks().dictionary_encode()
    rows = np.repeat(np.arange(len(ids), dtype=np.int64), ids)
    pairs = rows * max(1, len(names.dictionary)) + names.indices.to_numpy(zero_copy_only=False)
    pairs.sort()
    return "a sample twice in one record" if (pairs[1:] == pairs[:-1]).any() else None


def _forms(table: Table) -> str | None:
    for name in ("change_json", "measure_json"):
        for text in table[name].unique().to_pylist():
            try:
                form = parse_json(text, name)
            except PliantError as error:
                return str(error)
            if not isinstance(form, dict) or not isinstance(form.get("kind"), str):
                return f"{name} without a `kind`"
    return None


def _once(table: Table) -> str | None:
    rows = set(zip(*(table[name].to_pylist() for name in PLACE), strict=True))
    return None if len(rows) == len(table) else "a record twice"


RULES: tuple[Callable[[Table], str | None], ...] = (_nulls, _statuses, _numbers, _samples, _forms, _once)
