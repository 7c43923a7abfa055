"""The ledger: every record of every study in one folder of immutable Parquet files, queried through DuckDB.

Idea: a cell's records are one file that appears by a rename, so a study killed at any moment has lost nothing that was
finished and doubles nothing when it resumes. A record that failed is a file of its own, outside `records`, which goes away
when the same record succeeds.

    ledger.json               format and version
    records/SHARD.parquet     finished records, samples included; the name is a digest of the keys inside
    failures/KEY.parquet      one failed record each
    studies/HASH.json         the studies that were run here, and which records they ask for no more
    checkpoints/HASH/         checkpoints trained for a study

Cost: one small file per cell until `compact` merges them; a million records take about 0.1 GB without samples, and a query
over them some hundredths of a second.
What goes wrong: two runs writing to one ledger would measure the same cells twice; a lock lets only one at a time.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Collection, Generator, Sequence
from pathlib import Path
from typing import Any

from pliant.errors import PliantError
from pliant.files import disk_errors, write_atomic
from pliant.spec import digest
from pliant.study.merging import ABSORBED, merge
from pliant.study.record import Record, Table, arrow_table

VERSION = 1
MANY_SHARDS = 256
"""More small files than this are merged at the end of a run."""


class Ledger:
    """A folder of records. Opening one that exists needs no right to write; `create` makes what is missing.

    Raises PliantError for a folder that is no ledger, or one that a newer version of pliant wrote.
    """

    def __init__(self, folder: str | Path, *, create: bool = False) -> None:
        self.folder = Path(folder)
        self._marker = self.folder / "ledger.json"
        if create and not self._marker.exists():
            write_atomic(self._marker, json.dumps({"format": "pliant ledger", "version": VERSION}) + "\n")
        self._check_version()

    def __repr__(self) -> str:
        return f"Ledger({str(self.folder)!r})"

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints that a study trains are kept."""
        return self.folder.resolve() / "checkpoints"

    def _check_version(self) -> None:
        try:
            marker: Any = json.loads(self._marker.read_text(encoding="utf-8"))
            version = marker["version"]
        except (FileNotFoundError, NotADirectoryError):
            raise PliantError(f"{self.folder}: no ledger here (no ledger.json); `pliant run STUDY --ledger DIR` makes one") from None
        except (ValueError, TypeError, KeyError):
            raise PliantError(f"{self._marker}: not a file that pliant wrote") from None
        if not isinstance(version, int) or version > VERSION:
            raise PliantError(f"{self.folder}: ledger version {version} is from a newer pliant (this reads {VERSION}); update pliant")

    # --- writing

    def write(self, records: Sequence[Record]) -> None:
        """Store the records of one cell: finished ones in one step, failed ones beside them. Writing them again changes nothing.

        Raises PliantError for a full disk or a folder that cannot be written; earlier records are untouched.
        """
        finished = [record for record in records if record.status == "ok"]
        keys = sorted({record.key for record in finished})
        if finished:
            self._write_shard(self.folder / "records" / f"{digest(' '.join(keys))}.parquet", finished)
        for record in records:
            if record.status != "ok":
                self._write_shard(self.folder / "failures" / f"{record.key}.parquet", [record])
        for key in keys:
            (self.folder / "failures" / f"{key}.parquet").unlink(missing_ok=True)

    def _write_shard(self, path: Path, records: Sequence[Record]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        content = pa.BufferOutputStream()
        pq.write_table(arrow_table(records), content, compression="lz4")  # a third of the time of zstd, which merging uses
        write_atomic(path, content.getvalue().to_pybytes())

    def remember(self, name: str, form: dict[str, Any], keys: Collection[str]) -> None:
        """Keep a study's description, and the keys it asks for. Records under other keys, from an earlier form of the study,
        stay in the files but are shown no more, unless the study takes that form again.
        """
        outdated = sorted(self._keys_of(name) - set(keys))
        content = {"study": {key: value for key, value in form.items() if key != "kind"}, "outdated": outdated}
        write_atomic(self.folder / "studies" / f"{digest(name)}.json", json.dumps(content) + "\n")

    def studies(self) -> list[dict[str, Any]]:
        """The descriptions of the studies that were run here, as study files would say them."""
        return [stored["study"] for stored in self._remembered()]

    def outdated(self) -> list[str]:
        """The keys that no study asks for any more."""
        return [key for stored in self._remembered() for key in stored["outdated"]]

    def _remembered(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(self.folder.glob("studies/[!.]*.json"))]

    @contextlib.contextmanager
    def lock(self) -> Generator[None]:
        """Only one process writes at a time. The system gives the lock back when its holder ends, however it ends.

        Raises PliantError when another process holds it.
        """
        try:
            import fcntl
        except ImportError:  # no such locks on this system
            yield
            return
        path = self.folder / ".lock"
        with disk_errors(path):
            stream = path.open("a+")
        with stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                stream.seek(0)
                holder = stream.read().strip() or "?"
                raise PliantError(f"{self.folder}: another run (process {holder}) is writing to this ledger") from None
            stream.truncate(0)
            stream.write(str(os.getpid()))
            stream.flush()
            yield

    def compact(self, at_least: int = 2) -> None:
        """Merge the shards into one file when there are `at_least` so many; see `pliant.study.merging`."""
        self._tidy()
        if len(self.shards()) >= at_least:
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
        """The files of finished records."""
        return self._shards()[0]

    def failures(self) -> list[Path]:
        """The files of failed records."""
        return sorted(self.folder.glob("failures/[!.]*.parquet"))

    def _shards(self) -> tuple[list[Path], list[Path]]:
        """The shards that count, and those that a merge has absorbed but a kill left behind."""
        import pyarrow.parquet as pq

        paths = sorted(self.folder.glob("records/[!.]*.parquet"))
        absorbed: set[str] = set()
        for path in paths:
            if path.name.startswith("merged-"):
                try:
                    absorbed |= set(json.loads((pq.read_metadata(path).metadata or {}).get(ABSORBED, b"[]")))
                except ValueError:  # also what Arrow says of a file that is no Parquet
                    raise PliantError(f"{path}: is damaged; delete it, and the next run measures its cells again") from None
        return [path for path in paths if path.name not in absorbed], [path for path in paths if path.name in absorbed]

    def finished(self) -> set[str]:
        """The keys of every record that need not be measured again."""
        from pliant.study.views import connect

        with connect(self) as connection:
            return {key for (key,) in connection.execute("select distinct key from stored").fetchall()}

    def _keys_of(self, study: str) -> set[str]:
        """The keys of all records of a study, finished or failed, asked for or not."""
        from pliant.study.views import connect

        query = "select key from stored where study = $study union select key from failed where study = $study"
        with connect(self) as connection:
            return {key for (key,) in connection.execute(query, {"study": study}).fetchall()}

    def sql(self, query: str) -> Table:
        """The answer to one SELECT over the views `records`, `samples` and `rises`. It can read nothing else, and write nothing.

        Raises PliantError for anything that is not one SELECT, and with DuckDB's reason for a query that fails.
        """
        from pliant.study.views import answer

        return answer(self, query)

    def records(self, where: str = "true") -> list[dict[str, Any]]:
        """Every record as a dictionary of its columns, `change` being an object with its `kind`; in a stable order."""
        order = "study, checkpoint, tokens, change_json, measure, seed, draw"
        rows = self.sql(f"select * from records where {where} order by {order}").to_pylist()
        return [row | {"change": json.loads(row["change_json"])} for row in rows]

    def rises(self) -> Table:
        """What each change did: paired differences against the unchanged checkpoint; see `pliant.study.rises`."""
        from pliant.study.rises import rises

        return rises(self)
