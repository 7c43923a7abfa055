"""Scoring that may be killed: what is scored is written down part by part, and the same command goes on behind the last whole one.

Idea: parts follow each other in one file beside the result, each with its length and checksum, and are on the disk before the next
begins. A process that is killed leaves at most a torn part at the end, which is cut off; so nothing is scored twice and nothing is lost.
At the end the parts become the file of scores, one after the other.
Cost: one write to the disk every part; memory for one part.
What goes wrong: the file belongs to one score, models and data, whose hashes it begins with; another command is refused.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from pliant.errors import PliantError
from pliant.files import as_utf8, atomic_path, disk_errors, expanded
from pliant.progress import progress, remark
from pliant.scores.scores import ABOUT, COLUMNS, about, opened
from pliant.spec import digest

if TYPE_CHECKING:
    from pliant.models import Model
    from pliant.objectives import Examples
    from pliant.scores.score import Rows, Score, Scoring

Each = Callable[[Callable[[range], "Rows"], Sequence[range]], Iterable["Rows"]]
"""Scores parts, given what scores one and the numbers of each one's examples, and hands them out in that order."""
HEAD = struct.Struct("<QI")
"""Bytes of a part, and their checksum."""


def score_to_file(
    score: Score,
    models: Sequence[Model],
    examples: Examples,
    out: Path,
    further: Mapping[str, Any],
    leave_out: frozenset[str] = frozenset(),
    each: Each = map,
) -> Any:
    """Scores every example into the new file `out`; the table that was written. Killed, the same call goes on where it was.

    `further` are facts of the data for `Scores`; examples with the ids `leave_out` get no score; `each` reads all parts, as `map` does.
    Raises PliantError as the score does, where another process scores into the same file, and for what another command left there.
    """
    from filelock import FileLock, Timeout

    target = expanded(out)
    journal, lock = (target.with_name(f"{target.name}.{ending}") for ending in ("unfinished", "lock"))
    scoring = score.scoring(models, examples)
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(lock, timeout=0):
                facts = about(score, [model.weights() for model in models], examples.fingerprint, further)
                _write_parts(scoring, journal, digest(json.dumps([facts, scoring.starts.tolist()])), leave_out, each)
                _finish(journal, target, facts)
                table = _checked(target)
                journal.unlink()
                lock.unlink(missing_ok=True)
        except Timeout:
            raise PliantError(f"{out}: another process is scoring into it") from None
    return table


def without(rows: Rows, ids: frozenset[str]) -> Rows:
    """The others."""
    kept = [place for place, name in enumerate(rows.ids) if name not in ids]
    sources = None if rows.sources is None else [rows.sources[place] for place in kept]
    return replace(rows, ids=[rows.ids[place] for place in kept], values=rows.values[kept], tokens=rows.tokens[kept], sources=sources)


def _checked(target: Path) -> Any:
    """The table in a file that was just written, which is gone again where it is none: with an id twice, or empty."""
    try:
        table, _ = opened(target)
        if not len(table):
            raise PliantError("no example has a score; a document of one token has nothing to be predicted")
    except PliantError:
        target.unlink()
        raise
    return table


def _write_parts(scoring: Scoring, journal: Path, key: str, leave_out: frozenset[str], each: Each) -> None:
    count, end = _left(journal, key)
    with journal.open("r+b" if end else "wb") as stream:
        if end:
            stream.truncate(end)
            stream.seek(end)
            if count:
                remark(
                    f"goes on behind {int(scoring.starts[count]):,} of {int(scoring.starts[-1]):,} examples, which an earlier run scored"
                )
        else:
            stream.write(f"{key}\n".encode())
        with progress(f"scoring {int(scoring.starts[-1]):,} examples", float(scoring.work[count:].sum())) as advance:
            numbers = [range(*bounds) for bounds in pairwise(scoring.starts[count:].tolist())]
            for part, found in enumerate(each(scoring.read, numbers), count):
                rows = without(found, leave_out) if leave_out else found
                bad = np.flatnonzero(~np.isfinite(rows.values))
                if len(bad):
                    raise PliantError(f"the score of {rows.ids[bad[0]]} is {rows.values[bad[0]]}, not a finite number")
                content = _packed(rows, scoring.source)
                stream.write(HEAD.pack(len(content), zlib.crc32(content)) + content)
                stream.flush()
                os.fsync(stream.fileno())
                advance(float(scoring.work[part]))


def _left(journal: Path, key: str) -> tuple[int, int]:
    """How many whole parts an earlier run left, and where the last of them ends. Raises PliantError for those of another command."""
    if not journal.exists():
        return 0, 0
    with journal.open("rb") as stream:
        line = stream.readline(len(key) + 1)
        if not line.endswith(b"\n"):
            return 0, 0
        if line != f"{key}\n".encode():
            raise PliantError(
                f"{journal}: was left by scoring with another score, model or data; delete it, or choose another file with -o"
            )
        count, end = 0, stream.tell()
        for _ in _parts(stream):
            count, end = count + 1, stream.tell()
    return count, end


def _parts(stream: IO[bytes]) -> Iterator[bytes]:
    """The whole parts from here on."""
    while len(head := stream.read(HEAD.size)) == HEAD.size:
        length, checksum = HEAD.unpack(head)
        left = os.fstat(stream.fileno()).st_size - stream.tell()
        content = stream.read(length) if length <= left else b""
        if len(content) < length or zlib.crc32(content) != checksum:
            return
        yield content


def _packed(rows: Rows, source: str) -> bytes:
    import pyarrow as pa

    sources = pa.array(map(as_utf8, rows.sources or [source] * len(rows.ids)), pa.string())
    columns = (pa.array(rows.ids, pa.string()), pa.array(rows.values, pa.float64()), pa.array(rows.tokens, pa.int64()), sources)
    batch = pa.record_batch(dict(zip(COLUMNS, columns, strict=True)))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def _finish(journal: Path, target: Path, facts: Mapping[str, Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = (pa.string(), pa.float64(), pa.int64(), pa.string())
    schema = pa.schema(list(zip(COLUMNS, types, strict=True)), {ABOUT: json.dumps(facts).encode()})
    with journal.open("rb") as stream, atomic_path(target) as temporary:
        stream.readline()
        with pq.ParquetWriter(as_utf8(temporary), schema, compression="zstd") as writer:
            for content in _parts(stream):
                writer.write_table(pa.ipc.open_stream(content).read_all().cast(schema))
