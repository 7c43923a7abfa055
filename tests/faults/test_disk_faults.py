"""Nothing is lost, doubled or silently wrong, whatever the disk does; and the simulator would notice.

`make faults SCHEDULES=100000` plays many more schedules, and lets every operation fail.
"""

import functools
import itertools
import random
import shutil
import tempfile
from pathlib import Path

import pytest

pytest.importorskip("fcntl")
from disk import Process
from machine import simulated_disk
from model import Model
from schedule import Schedule, content
from simulate import MEMORY, play, play_all
from turns import turns

from pliant.errors import PliantError
from pliant.ledger.ledger import Ledger


@pytest.fixture
def memory():
    """A folder in memory, where there is one."""
    folder = Path(tempfile.mkdtemp(prefix="faults-", dir=MEMORY))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(4))
def test_after_any_schedule_of_faults_the_ledger_is_its_model(chunk):
    wrong = play_all(range(100 * chunk, 100 * (chunk + 1)))
    assert not wrong, wrong[0][1]


def test_a_seed_replays_its_schedule(capsys):
    with simulated_disk():
        for _ in range(2):
            play(5, tell=True)
    stories = capsys.readouterr().out
    places = [line.split()[0] for line in stories.splitlines()]
    assert places[: len(places) // 2] == places[len(places) // 2 :]


@pytest.mark.slow
@pytest.mark.parametrize("before", [(), ((0, 1000), (1, 1000))], ids=["first run", "facts corrected, shards merged"])
def test_the_operations_of_a_run_fail_in_turn(memory, before):
    """A run that makes the ledger and its records; and one that corrects the facts of records, adds to them and merges them."""
    numbers = itertools.count()
    schedule: Schedule

    def prepare():
        nonlocal schedule
        schedule = Schedule(memory / str(next(numbers)) / "ledger", random.Random(0), Model(), [])
        for form, tokens in before:
            process = Process(memory)
            process.run(functools.partial(schedule.run, process, form, tokens, faultless=True))
            assert process.error is None

    def program(process: Process):
        schedule.run(process, 3, 2000, faultless=True)

    with simulated_disk():
        for process in turns(memory, prepare, program):
            found = content(Ledger(schedule.folder)) if (schedule.folder / "ledger.json").exists() else Model().possible[0]
            if process.error is None:  # the fault was got over, and the run says that all is well
                assert schedule.model.possible == [found]
            schedule.model.observe(found)
            schedule.stage("run", faultless=True)


# --- would it notice?


def _acknowledges_what_failed(write):
    def planted(self, records):
        try:
            write(self, records)
        except (OSError, PliantError):
            return

    return planted


def _writes_half_a_cell(write):
    def planted(self, records):
        for record in records:
            write(self, [record])

    return planted


def _counts_what_was_merged(_):
    return lambda self: sorted(self.folder.glob("records/[!.]*.parquet"))


def _starts_before_its_turn(_):
    import contextlib

    return lambda self: contextlib.nullcontext()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "plant", "noticed"),
    [
        ("write", _acknowledges_what_failed, "may only be one of"),
        ("write", _writes_half_a_cell, "may only be one of"),
        ("shards", _counts_what_was_merged, "doubled"),
        ("lock", _starts_before_its_turn, ""),
    ],
)
def test_a_planted_fault_is_noticed(name, plant, noticed, monkeypatch):
    monkeypatch.setattr(Ledger, name, plant(getattr(Ledger, name)))
    for begin in range(0, 400, 20):
        if wrong := play_all(range(begin, begin + 20)):
            assert any(noticed in story for _, story in wrong)
            return
    pytest.fail("400 schedules have not noticed it")
