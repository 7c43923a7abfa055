"""The ledger: every record of every study in one folder of immutable Parquet files, queried through DuckDB.

Idea: a cell's records are one file that appears by a rename, so a study killed at any moment has lost nothing that was
finished and doubles nothing when it resumes. A record that failed is a file of its own, outside `records`, which goes away
when the same record succeeds.

    ledger.json                     format and version
    records/STEM-SEAL.parquet       finished records, samples included; the stem is a digest of the keys inside
    failures/KEY-SEAL.parquet       one failed record each
    studies/HASH.json               the studies that were run here, and which records they ask for no more
    checkpoints/HASH/               checkpoints trained for a study

A seal is the SHA-256 of the file's bytes: whatever is read is verified first, see `pliant.ledger.seal`.
Cost: one small file per cell until `compact` merges them; a million records take about 0.1 GB without samples, and a query
over them some hundredths of a second.
What goes wrong: two runs writing to one ledger would measure the same cells twice; a lock lets only one at a time.
"""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from pliant.files import as_utf8, write_atomic
from pliant.ledger.layout import MARKER, VERSION, absorbed_by, check_marker, read_study, spelled, verify_records
from pliant.ledger.lock import locked
from pliant.ledger.merging import merge
from pliant.ledger.record import Record, Table, arrow_table
from pliant.ledger.seal import is_sealed, newest, sealed_json, stem, write_sealed
from pliant.ledger.valid import check
from pliant.spec import digest

__all__ = ["MANY_SHARDS", "VERSION", "Ledger"]

MANY_SHARDS = 256
"""More small files than this are merged at the end of a run."""


class Ledger:
    """A folder of records. Opening one that exists needs no right to write; `create` makes what is missing.

    Raises PliantError for a folder that is no ledger, or one that a newer version of pliant wrote. What reads raises
    PliantError for a damaged file, which it names.
    """

    def __init__(self, folder: str | Path, *, create: bool = False) -> None:
        self.folder = spelled(folder)
        self.study: str | None = None
        marker = self.folder / "ledger.json"
        if create and not marker.exists():
            write_atomic(marker, json.dumps(MARKER) + "\n")
        check_marker(marker)

    def __repr__(self) -> str:
        return f"Ledger({str(self.folder)!r})"

    def of(self, study: str) -> Ledger:
        """The same ledger with nothing but one study in what it shows: its records, views and description."""
        seen = copy.copy(self)
        seen.study = study
        return seen

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints that a study trains are kept."""
        return self.folder.resolve() / "checkpoints"

    # --- writing

    def write(self, records: Sequence[Record]) -> None:
        """Store the records of one cell: finished ones in one step, failed ones beside them. Writing them again changes nothing.

        Raises PliantError for records that none can be (a value that is no number, a sample twice), a full disk or a folder
        that cannot be written; earlier records are untouched.
        """
        finished = [record for record in records if record.status == "ok"]
        failed = [record for record in records if record.status != "ok"]
        keys = sorted({record.key for record in finished})
        if finished:
            _write(self.folder / "records", digest(" ".join(keys)), finished)
        written = [_write(self.folder / "failures", record.key, [record]) for record in failed]
        outcome = {*keys, *(record.key for record in failed)}
        for path in self.folder.glob("failures/[!.]*.parquet"):  # what has succeeded, or failed anew
            if stem(path) in outcome and path not in written:
                path.unlink(missing_ok=True)

    def remember(self, name: str, form: dict[str, Any], keys: Collection[str]) -> None:
        """Keep a study's description, and the keys it asks for. Records under other keys, from an earlier form of the study,
        stay in the files but are shown no more, unless the study takes that form again.
        """
        outdated = sorted(self._keys_of(name) - set(keys))
        content = {"study": {key: value for key, value in form.items() if key != "kind"}, "outdated": outdated}
        write_atomic(self.folder / "studies" / f"{digest(as_utf8(name))}.json", sealed_json(content))

    def studies(self) -> list[dict[str, Any]]:
        """The descriptions of the studies that were run here, as study files would say them."""
        studies = [stored["study"] for stored in self._remembered()]
        return [study for study in studies if self.study in (None, study["name"])]

    def outdated(self) -> list[str]:
        """The keys that no study asks for any more."""
        return [key for stored in self._remembered() for key in stored["outdated"]]

    def _remembered(self) -> list[dict[str, Any]]:
        return [read_study(path) for path in sorted(self.folder.glob("studies/[!.]*.json"))]

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Only one process writes at a time. The system gives the lock back when its holder ends, however it ends.

        Raises PliantError when another process holds it.
        """
        return locked(self.folder)

    def compact(self, at_least: int = 2) -> None:
        """Merge the shards into one file when there are `at_least` so many, or some without a seal; see `pliant.ledger.merging`."""
        self._tidy()
        shards = self.shards()
        if len(shards) >= at_least or not all(map(is_sealed, shards)):
            self.merge()

    def merge(self, amended: Callable[[Table], Table] = lambda table: table) -> None:
        """Put one file in the place of all shards, its records as `amended` gives them back."""
        self._tidy()  # before: a file that the merged one does not list would count again
        merge(self.shards(), self.folder / "records", amended)

    def _tidy(self) -> None:
        for path in self._shards()[1]:
            path.unlink(missing_ok=True)

    # --- reading

    def shards(self) -> list[Path]:
        """The files of finished records that count, verified."""
        return self._shards()[0]

    def failures(self) -> list[Path]:
        """The files of failed records, verified."""
        paths = newest(self.folder.glob("failures/[!.]*.parquet"))
        for path in paths:
            verify_records(path)
        return paths

    def _shards(self) -> tuple[list[Path], list[Path]]:
        """The shards that count, and those that a merge has absorbed or another has replaced but a kill left behind."""
        paths = sorted(self.folder.glob("records/[!.]*.parquet"))
        gone: set[str] = set()
        for path in paths:
            if path.name.startswith("merged-"):
                gone |= absorbed_by(path)
        current = newest(path for path in paths if path.name not in gone)
        for path in current:
            verify_records(path)
        return current, [path for path in paths if path not in current]

    def finished(self) -> set[str]:
        """The keys of every record that need not be measured again."""
        from pliant.ledger.views import connect

        with connect(self) as connection:
            return {key for (key,) in connection.execute("select distinct key from stored").fetchall()}

    def _keys_of(self, study: str) -> set[str]:
        """The keys of all records of a study, finished or failed, asked for or not."""
        from pliant.ledger.views import connect

        study = as_utf8(study)
        query = "select key from stored where study = $study union select key from failed where study = $study"
        with connect(self) as connection:
            return {key for (key,) in connection.execute(query, {"study": study}).fetchall()}

    def sql(self, query: str) -> Table:
        """The answer to one SELECT over the views `records`, `samples`, `rises` and `differences`, which can do nothing else.

        Raises PliantError for anything that is not one SELECT, and with DuckDB's reason for a query that fails.
        """
        from pliant.ledger.views import answer

        return answer(self, query)

    def records(self, where: str = "true") -> list[dict[str, Any]]:
        """Every record as a dictionary of its columns, `change` being an object with its `kind`; in a stable order."""
        order = "study, checkpoint, tokens, change_json, measure, seed, draw, metric"
        rows = self.sql(f"select * from records where {where} order by {order}").to_pylist()
        return [row | {"change": json.loads(row["change_json"])} for row in rows]

    def rises(self) -> Table:
        """What each change did with each seed, paired with the unchanged checkpoint; see `pliant.ledger.differences`."""
        return self.sql("from rises")

    def differences(self) -> Table:
        """What each change did, over all seeds, paired with the unchanged checkpoint; see `pliant.ledger.differences`."""
        return self.sql("from differences")


def _write(folder: Path, about: str, records: Sequence[Record]) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table, content = arrow_table(records), pa.BufferOutputStream()
    check(table)
    pq.write_table(table, content, compression="lz4")  # a third of the time of zstd, which merging uses
    return write_sealed(folder, about, content.getvalue().to_pybytes())
