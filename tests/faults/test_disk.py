"""The disk that fails: it sees every operation, a write can be torn, and the dead change nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("fcntl")
from disk import Killed, Process
from machine import simulated_disk

AUDITED = """
import collections, functools, json, os, random, sys, tempfile
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from disk import Process
from machine import simulated_disk
from model import Model
from schedule import Schedule
events = {"os.rename": "rename", "os.remove": "unlink", "os.mkdir": "mkdir", "os.rmdir": "rmdir", "os.chmod": "chmod", "os.link": "link"}
events |= {"os.symlink": "symlink", "open": "open"}
same = {"replace": "rename", "remove": "unlink"}
seen, watching, folder = collections.Counter(), [], os.path.realpath(tempfile.mkdtemp())

def hook(event, arguments):
    if watching and event in events and str(arguments[0]).startswith(folder):
        plain = event == "open" and arguments[1] is None and not arguments[2] & os.O_CREAT  # os.open of what is there changes nothing
        if not plain and (event != "open" or arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
            seen[events[event]] += 1

sys.addaudithook(hook)
schedule = Schedule(Path(folder) / "ledger", random.Random(0), Model(), [])
counted = collections.Counter()
with simulated_disk():
    for form, tokens in ((0, 1000), (3, 1000), (3, 2000)):
        process = Process(Path(folder))
        watching.append(form)
        process.run(functools.partial(schedule.run, process, form, tokens))
        watching.clear()
        assert process.error is None, process.error
        for operation in process.operations:
            name, _, place = operation.partition(" ")
            if place.startswith(folder):
                counted[same.get(name, name)] += 1
print(json.dumps([seen, {name: counted[name] for name in events.values() if counted[name]}]))
"""


def test_every_change_of_a_file_is_an_operation_that_can_fail():
    """What Python's audit events say was opened for writing, renamed, removed ... is what the simulator has counted."""
    answer = subprocess.run([sys.executable, "-c", AUDITED, str(Path(__file__).parent)], capture_output=True, text=True, check=True)
    seen, counted = json.loads(answer.stdout)
    assert seen == counted
    assert min(seen[name] for name in ("rename", "unlink", "mkdir", "open")) > 5


def test_a_write_is_cut_short_and_the_dead_change_nothing(tmp_path):
    target = tmp_path / "file"

    def program():
        try:
            with target.open("w") as stream:
                stream.write("whole")
        finally:
            (tmp_path / "more").mkdir()
            target.unlink()

    process = Process(tmp_path, lambda number: ("kill", 0.5) if number == 1 else None)
    with simulated_disk():
        process.run(program)
    assert isinstance(process.error, Killed)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert target.read_text() == "wh"


def test_a_full_disk_stays_full_and_still_deletes(tmp_path):
    (tmp_path / "old").write_text("old")

    def program():
        (tmp_path / "old").unlink()
        with pytest.raises(OSError, match="No space left"):
            (tmp_path / "new").write_text("new")
        with pytest.raises(OSError, match="No space left"):
            (tmp_path / "folder").mkdir()

    process = Process(tmp_path, lambda number: ("ENOSPC", 0.0) if number == 1 else None)
    with simulated_disk():
        process.run(program)
    assert process.error is None
    assert list(tmp_path.iterdir()) == []


def test_arrow_s_writer_can_be_cut_short(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"number": list(range(1000))})

    def program():
        with pq.ParquetWriter(tmp_path / "whole.parquet", table.schema) as writer:
            writer.write_table(table)

    whole = Process(tmp_path)
    with simulated_disk():
        whole.run(program)
        size = (tmp_path / "whole.parquet").stat().st_size
        assert "write" in [operation.split()[0] for operation in whole.operations]
        assert pq.read_table(tmp_path / "whole.parquet") == table
        for last in range(1, len(whole.operations)):
            process = Process(tmp_path, lambda number, last=last: ("kill", 0.5) if number == last else None)
            process.run(program)
            assert isinstance(process.error, Killed)
            assert (tmp_path / "whole.parquet").stat().st_size < size


def test_the_locks_of_the_dead_are_free(tmp_path):
    import fcntl

    def holding():
        with (tmp_path / "lock").open("a") as stream:
            fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            kept.append(os.dup(stream.fileno()))  # as if the program had not come to closing it
            (tmp_path / "folder").mkdir()

    kept: list[int] = []
    first, second = Process(tmp_path, lambda number: ("kill", 0.0) if number == 1 else None), Process(tmp_path)
    with simulated_disk():
        first.run(holding)
        second.run(holding)
    assert isinstance(first.error, Killed)
    assert second.error is None
    for number in kept:
        os.close(number)
