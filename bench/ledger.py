"""The ledger against SQLite: a million records written cell by cell, each durable before the next, then queried.

The peer is what a careful user would write: one table of records and one of samples, one transaction a cell (WAL, every commit
synchronous), indices on what is asked for. Both hold the same million records with eight samples each and answer the same
five questions; the answers are compared first. The floor is DuckDB on the same columns already in memory.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from pliant.spec import digest
from pliant.study import Ledger, Record

RECORDS = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
CELL = 100
"""Records of one cell: 25 draws of a change, read by 4 measures."""
SAMPLES = 8
MEASURES = ["generic", "task", "code", "math"]
NAMES = [f"{number:016x}:0" for number in range(SAMPLES)]
KINDS = ["none", *(f"quantize{bits}" for bits in range(2, 9)), *(f"perturb{scale}" for scale in range(12))]

QUERIES = {
    "how many of each status": "select status, count(*) from records group by status order by 1",
    "means over tokens": """
        select tokens, change_json, measure, avg(value), count(*) from records group by tokens, change_json, measure order by 1, 2, 3""",
    "rise over the unchanged checkpoint": """
        select c.change_json, avg(c.value - b.value), count(*) from records c join
            (select base_weights, measure, avg(value) as value from records where change_kind = 'none' group by base_weights, measure) b
            on c.base_weights = b.base_weights and c.measure = b.measure
        where c.change_kind <> 'none' group by c.change_json order by 1""",
    "one checkpoint's records": "select key, draw, value from records where checkpoint = 'ladder@17' order by key, draw",
    "samples of one change and measure": """
        select sample, avg(value), count(*) from samples where change_json = '{"kind":"quantize3"}' and measure = 'task'
        group by sample order by 1""",
}
"""Each must be answered in under a second."""


def cells() -> Iterator[list[Record]]:
    """The records, cell by cell: checkpoints x changes, as a study would write them."""
    random = np.random.default_rng(0)
    weights = np.ones(SAMPLES)
    for number in range(RECORDS // CELL):
        checkpoint, kind = divmod(number, len(KINDS))
        values = random.normal(3.0, 0.1, (CELL, SAMPLES))
        cell = digest(f"cell {number}")
        yield [
            Record(
                study="bench",
                checkpoint=f"ladder@{checkpoint}",
                weights=f"{number:08x}{index:08x}",
                base_weights=f"{checkpoint:016x}",
                params=8784,
                params_non_embedding=6736,
                tokens=(checkpoint % 8 + 1) * 1_000_000,
                peak_lr=1e-2,
                final_lr=0.0,
                schedule="cosine",
                change_kind=KINDS[kind].rstrip("0123456789"),
                change_json=f'{{"kind":"{KINDS[kind]}"}}',
                measure=MEASURES[index % 4],
                measure_json=f'{{"kind":"loss","data":"{MEASURES[index % 4]}"}}',
                metric="loss",
                value=float(values[index].mean()),
                stderr=float(values[index].std() / 3),
                n=SAMPLES,
                unit="nats/token",
                seed=0,
                draw=index // 4,
                data=MEASURES[index % 4],
                seconds=0.01,
                cell=cell,
                key=digest(f"{cell} {index % 4}"),
                sample_ids=NAMES,
                sample_values=values[index],
                sample_weights=weights,
            )
            for index in range(CELL)
        ]


COLUMNS = [name for name in Record.__dataclass_fields__ if not name.startswith("sample_")]


def peer_connection(path: Path) -> sqlite3.Connection:
    """SQLite with the two tables, durable at every commit."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")
    connection.execute(f"create table if not exists records ({', '.join(COLUMNS)})")
    connection.execute("create table if not exists samples (key, draw, change_json, measure, sample, value, weight)")
    return connection


def peer_write(connection: sqlite3.Connection, records: list[Record]) -> None:
    """One cell, one transaction."""
    rows = [[getattr(record, name) for name in COLUMNS] for record in records]
    samples = [
        (record.key, record.draw, record.change_json, record.measure, name, value, weight)
        for record in records
        for name, value, weight in zip(record.sample_ids, record.sample_values, record.sample_weights, strict=True)
    ]
    connection.execute("begin")
    connection.executemany(f"insert into records values ({', '.join('?' * len(COLUMNS))})", rows)
    connection.executemany("insert into samples values (?, ?, ?, ?, ?, ?, ?)", samples)
    connection.execute("commit")


def peer_index(connection: sqlite3.Connection) -> None:
    """What the five questions need."""
    for name, columns in (("one", "checkpoint"), ("two", "base_weights, measure, change_kind"), ("three", "tokens, change_json, measure")):
        connection.execute(f"create index {name} on records ({columns}, value)")
    connection.execute("create index four on samples (change_json, measure, sample, value)")
    connection.execute("analyze")


def timed(work: Any, repeats: int = 3) -> tuple[float, Any]:
    """Median seconds, and the last answer."""
    seconds: list[float] = []
    answer = None
    for _ in range(repeats):
        start = time.perf_counter()
        answer = work()
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)[len(seconds) // 2], answer


def alike(ours: list[tuple[Any, ...]], theirs: list[tuple[Any, ...]]) -> bool:
    """Equal rows; sums of floats in another order may differ in the last digits."""

    def same(a: Any, b: Any) -> bool:
        return a == b or (isinstance(a, float) and abs(a - b) <= 1e-9 * abs(b))

    return len(ours) == len(theirs) and all(
        len(mine) == len(other) and all(map(same, mine, other)) for mine, other in zip(ours, theirs, strict=True)
    )


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ledger, peer = Ledger(folder / "ours", create=True), peer_connection(folder / "peer.db")
        writing = {"ours": 0.0, "peer": 0.0}
        for records in cells():
            start = time.perf_counter()
            ledger.write(records)
            middle = time.perf_counter()
            peer_write(peer, records)
            writing["ours"] += middle - start
            writing["peer"] += time.perf_counter() - middle
        loose, _ = timed(lambda: ledger.sql(QUERIES["means over tokens"]), 1)
        merging, _ = timed(ledger.compact, 1)
        indexing, _ = timed(lambda: peer_index(peer), 1)

        memory = duckdb.connect()
        kept = ["change_kind", "change_json", "measure", "status", "tokens", "checkpoint", "base_weights", "key", "draw", "value"]
        memory.register("arrow", ledger.sql(f"select {', '.join(kept)} from records"))
        memory.execute("create table records as from arrow")
        memory.register("arrow2", ledger.sql("select change_json, measure, sample, value from samples"))
        memory.execute("create table samples as from arrow2")

        report: dict[str, Any] = {}
        equal = True
        ours, theirs, floors = [], [], []
        for question, query in QUERIES.items():
            our_seconds, table = timed(lambda query=query: ledger.sql(query))
            peer_seconds, rows = timed(lambda query=query: peer.execute(query).fetchall(), 1)
            floor, _ = timed(lambda query=query: memory.execute(query).fetchall())
            equal &= alike([tuple(row.values()) for row in table.to_pylist()], rows)
            report[question] = f"{our_seconds:.3f} s; SQLite {peer_seconds:.3f} s; in memory {floor:.3f} s"
            print(f"{question}: {report[question]}", flush=True)
            ours.append(our_seconds)
            theirs.append(peer_seconds)
            floors.append(floor)
        print(
            json.dumps(
                {
                    "name": "ledger",
                    "claim": f"{RECORDS:,} records of {SAMPLES} samples: five questions answered, each in under a second",
                    "ours_s": sum(ours),
                    "slowest_query_s": max(ours),
                    "peer": "SQLite, one transaction a cell, with indices",
                    "peer_s": sum(theirs),
                    "ratio": sum(theirs) / sum(ours),
                    "target": "slowest query under 1 s",
                    "target_met": max(ours) < 1,
                    "equal_results": equal,
                    "floor": f"the same queries on DuckDB tables in memory: {sum(floors):.3f} s",
                    "ingest_s": writing["ours"],
                    "ingest_records_per_s": RECORDS / writing["ours"],
                    "peer_ingest_s": writing["peer"],
                    "one_query_before_merging_s": loose,
                    "merging_s": merging,
                    "peer_indexing_s": indexing,
                    "bytes_per_record": size_of(folder / "ours") / RECORDS,
                    "peer_bytes_per_record": (folder / "peer.db").stat().st_size / RECORDS,
                    **report,
                }
            )
        )


if __name__ == "__main__":
    main()
