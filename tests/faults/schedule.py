"""One seed's schedule: programs that write, restate, compact and read one ledger, alone or two at a time, on a failing disk.

After every stage, which is to say after every kill, the ledger is opened and held against the model.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from disk import FAULTS, Fault, Killed, Process
from machine import together
from model import Model, World

from pliant.errors import PliantError
from pliant.ledger.ledger import Ledger
from pliant.ledger.merging import restate
from pliant.ledger.record import Record
from pliant.spec import digest

FORMS = (((0, 1), "a"), ((1, 2), "a"), ((2,), "ab"), ((0, 1, 2), "ab"))
"""The forms that the study takes: which cells, which measures; all of them in the last."""
MERGED_FROM = 3
"""Shards at which a run merges them; 256 in earnest."""


def made(cell: int, measure: str, draw: int, attempt: int, tokens: int, error: str | None = None) -> Record:
    """A record whose values follow from its key and draw; `seconds` tell which attempt it is of."""
    value = None if error else cell + draw / 4 + ord(measure) / 128
    samples = [] if value is None else [value - 1, value + 1]
    return Record(
        study="s",
        checkpoint=f"m@{cell}",
        weights=None if error else digest(f"w{cell}"),
        base_weights=digest(f"w{cell}"),
        params=100,
        tokens=tokens,
        change_kind="none",
        change_json='{"kind":"none"}',
        measure=measure,
        measure_json='{"kind":"loss"}',
        metric="loss",
        unit="nats/token",
        data="d",
        value=value,
        stderr=None if error else 1.0,
        n=len(samples) or None,
        seed=0,
        draw=draw,
        status="failed" if error else "ok",
        error=error,
        seconds=float(attempt),
        cell=digest(f"cell {cell}"),
        key=key_of(cell, measure),
        sample_ids=["x:0", "y:0"][: len(samples)],
        sample_values=samples,
        sample_weights=[1.0] * len(samples),
    )


@functools.cache
def key_of(cell: int, measure: str) -> str:
    return digest(f"cell {cell} measure {measure}")


@functools.lru_cache(64)
def rows_in(content: bytes) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pq.read_table(pa.BufferReader(content)).to_pylist()


def content(ledger: Ledger) -> World:
    """What the files hold, each record once."""
    stored = [row for path in ledger.shards() for row in rows_in(path.read_bytes())]
    failed = [row for path in ledger.failures() for row in rows_in(path.read_bytes())]
    world = World().finish(stored)
    assert len(world.stored) == len(stored), f"doubled: {sorted((row['key'], row['draw']) for row in stored)}"
    for record in failed:
        if record["key"] not in world.finished:
            world = world.fail(record)
    return World(world.stored, world.failed, frozenset(ledger.outdated()))


@dataclass
class Schedule:
    """One seed's ledger, its model, and what was done to them."""

    folder: Path
    generator: random.Random
    model: Model
    told: list[str]
    attempts: int = 0

    # --- programs, as `running.run` and its users compose them

    def step(self, process: Process, do: Callable[[], object], *changes: Callable[[World], World]) -> None:
        self.model.begin(*changes)
        do()
        if process.dead:
            raise Killed
        self.model.done()

    def run(self, process: Process, form: int, tokens: int, faultless: bool = False) -> None:
        """Measure what the ledger lacks of the study's form; a cell may fail."""
        cells, measures = FORMS[form]
        keys = {key_of(cell, measure) for cell in cells for measure in measures}
        ledger = Ledger(self.folder, create=True)
        with ledger.lock():
            finished = ledger.finished()
            assert any(finished == world.finished for world in self.model.possible), f"finished are said to be {finished}"
            described = {"kind": "study", "name": "s", "seeds": [0, form]}
            self.step(process, lambda: ledger.remember("s", described, keys), lambda world: world.remember(keys))
            facts = {key: {"tokens": tokens} for key in sorted(keys)}
            self.step(process, lambda: restate(ledger, facts), lambda world: world.restate(dict.fromkeys(keys, tokens)))
            for cell in cells:
                waiting = [measure for measure in measures if key_of(cell, measure) not in finished]
                self.measure(process, ledger, cell, waiting, tokens, 0.0 if faultless else 0.2)
            ledger.compact(at_least=2 if faultless else MERGED_FROM)

    def measure(self, process: Process, ledger: Ledger, cell: int, measures: Iterable[str], tokens: int, failing: float) -> None:
        self.attempts += 1
        attempt, finished, failed = self.attempts, list[Record](), list[Record]()
        for measure in measures:
            if self.generator.random() < failing:
                failed.append(made(cell, measure, 0, attempt, tokens, f"out of luck {attempt}"))
            else:
                finished += [made(cell, measure, draw, attempt, tokens) for draw in range(1 + cell % 2)]
        if finished or failed:
            changes = [lambda world, record=record: world.fail(vars(record)) for record in failed]
            finish = lambda world: world.finish([vars(record) for record in finished])  # noqa: E731
            self.step(process, lambda: ledger.write(finished + failed), finish, *changes)

    def compact(self, process: Process) -> None:
        ledger = Ledger(self.folder)
        with ledger.lock():
            ledger.compact()

    def read(self, process: Process) -> None:
        """The answer is of some moment between the question and itself."""
        ledger, before, start = Ledger(self.folder), self.model.possible, len(self.model.seen)
        found = [_shown(record) for record in ledger.records("status = 'ok'")]
        moments = before + self.model.seen[start:]
        answers = [_visible(moment.stored, other.outdated) for moment in moments for other in moments]
        assert sorted(found) in answers, f"a reader found\n  {sorted(found)}\nand not one of\n  " + "\n  ".join(map(str, answers))

    # --- stages

    def play(self) -> None:
        """One to three stages, and an undisturbed one: the ledger is whole, and the disk tidy."""
        for _ in range(self.generator.randint(1, 3)):
            self.stage(
                self.generator.choice(("run", "run", "run", "compact", "read", "run run", "run read", "compact read", "compact run"))
            )
        self.stage("run", faultless=True)
        (world,) = self.model.possible
        assert world.finished == {key_of(cell, measure) for cell in (0, 1, 2) for measure in "ab"}
        assert not world.failed
        files = list(self.folder.glob("records/[!.]*"))
        assert len(files) == 1, f"more than one file after a merge: {files}"
        if self.generator.random() < 0.1:
            self.ask(Ledger(self.folder), world)

    def ask(self, ledger: Ledger, world: World) -> None:
        """What users see is what the files hold."""
        assert ledger.finished() == world.finished
        assert sorted(map(_shown, ledger.records())) == _visible(world.stored, world.outdated)
        counted = "select key, draw, count(*) as n, count(distinct sample) as once from samples group by all"
        assert {(found["n"], found["once"]) for found in ledger.sql(counted).to_pylist()} == {(2, 2)}

    def stage(self, names: str, faultless: bool = False) -> None:
        programs: list[tuple[Process, Callable[[], Any]]] = []
        new = not (self.folder / "ledger.json").exists()
        for name in names.split():
            process = Process(self.folder.parent, (lambda number: None) if faultless else self.faults())
            arguments: tuple[Any, ...] = ()
            if name == "run":
                arguments = (
                    len(FORMS) - 1 if faultless else self.generator.randrange(len(FORMS)),
                    self.generator.choice((1000, 2000)),
                    faultless,
                )
            programs.append((process, functools.partial(getattr(self, name), process, *arguments)))
            self.told.append(f"{name}{arguments}")
        together(programs, self.generator)
        for process, _ in programs:
            self.told += [f"    {operation}" for operation in process.operations] + [f"    = {process.error!r}"]
        for process, _ in programs:
            self.judge(process, new, alone=len(programs) == 1)
        if not new or (self.folder / "ledger.json").exists():
            self.model.observe(content(Ledger(self.folder)))
        else:
            self.model.observe(World())

    def judge(self, process: Process, new: bool, alone: bool) -> None:
        """Only faults, another run, and a ledger not yet made are reasons to stop, and each has its words."""
        error = process.error
        assert not process.dead or isinstance(error, Killed), f"survived a kill: {error!r}"
        if error is None or process.dead:
            return
        missing = new and "no ledger here" in str(error)
        if isinstance(error, AssertionError) or not isinstance(error, (PliantError, OSError)):
            raise error
        assert process.harmed or missing or (not alone and "another run" in str(error)), f"stopped for no reason: {error!r}"

    def faults(self) -> Callable[[int], Fault | None]:
        """One operation in about thirty fails, or a hundred, or three hundred, so that the end of a long program is met with, too."""
        apart = self.generator.choice((60, 200, 600))
        due = self.generator.randint(0, apart)

        def at(number: int) -> Fault | None:
            nonlocal due
            if number < due:
                return None
            due = number + self.generator.randint(1, apart)
            return self.generator.choice((*FAULTS, "kill")), self.generator.random()

        return at


def _shown(record: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(record[name] for name in ("key", "draw", "status", "value", "error", "tokens", "seconds"))


def _visible(stored: Any, outdated: frozenset[str]) -> list[tuple[Any, ...]]:
    return sorted((*place, *kept[:5]) for place, kept in stored.items() if place[0] not in outdated)
