"""Merging a ledger's small files into one, and correcting what its records say of their checkpoints.

Idea: a merged file lists the files it stands for, and readers skip those from the moment it appears by a rename, so that a
kill at any point neither loses nor doubles a record. Facts about a checkpoint (its name, its tokens) are no part of a
record's key, since no measured value depends on them; a study that states others corrects its records instead of measuring
them again.
Cost: reads and writes every record once; correcting happens only where a fact differs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pliant.files import atomic_path
from pliant.spec import digest
from pliant.study.record import Table, arrow_schema

if TYPE_CHECKING:
    from pliant.study.ledger import Ledger

ABSORBED = b"pliant.absorbed"
"""Footer entry of a merged shard: the names of the shards it stands for."""
Facts = Mapping[str, Mapping[str, Any]]
"""By key of a record, columns and what they should say."""


def merge(shards: Sequence[Path], folder: Path, amended: Callable[[Table], Table] = lambda table: table) -> None:
    """Put one file in the place of `shards`, its records as `amended` gives them back. Raises PliantError when the disk is full."""
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq

    names = sorted(path.name for path in shards)
    schema = arrow_schema().with_metadata({ABSORBED: json.dumps(names).encode()})
    with atomic_path(folder / f"merged-{digest(' '.join(names))}.parquet") as temporary:
        scanner = ds.dataset([str(path) for path in shards], schema=arrow_schema()).scanner(use_threads=False)
        with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
            for table in _gathered(scanner.to_batches()):
                writer.write_table(amended(table).cast(schema))
    for path in shards:
        path.unlink(missing_ok=True)


def restate(ledger: Ledger, facts: Facts) -> None:
    """Let the records under these keys say these facts. Raises PliantError as `merge` does."""
    columns = sorted({column for stated in facts.values() for column in stated})
    if columns and any(_differs(row, facts.get(row["key"], {})) for row in _stored(ledger, ["key", *columns])):
        ledger.merge(lambda table: _corrected(table, facts, columns))


def _stored(ledger: Ledger, columns: Sequence[str]) -> list[dict[str, Any]]:
    from pliant.study.views import connect

    with connect(ledger) as connection:
        return connection.sql(f"select distinct {', '.join(columns)} from stored").to_arrow_table().to_pylist()


def _differs(row: Mapping[str, Any], stated: Mapping[str, Any]) -> bool:
    return any(row[column] != value for column, value in stated.items())


def _corrected(table: Table, facts: Facts, columns: Iterable[str]) -> Table:
    import pyarrow as pa

    keys = table["key"].to_pylist()
    for column in columns:
        old = table[column].to_pylist()
        new = [facts.get(key, {}).get(column, value) for key, value in zip(keys, old, strict=True)]
        field = table.schema.field(column)
        table = table.set_column(table.schema.get_field_index(column), field, pa.array(new, field.type))
    return table


def _gathered(batches: Iterable[Any], size: int = 64 << 20) -> Generator[Table]:
    """Small batches put together to row groups of about `size` bytes."""
    import pyarrow as pa

    waiting: list[Any] = []
    held = 0
    for batch in batches:
        waiting.append(batch)
        held += batch.nbytes
        if held >= size:
            yield pa.Table.from_batches(waiting).combine_chunks()
            waiting, held = [], 0
    if waiting:
        yield pa.Table.from_batches(waiting).combine_chunks()
