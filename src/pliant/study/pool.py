"""The pool: cells go to worker processes, largest first, and come back as records.

Idea: a worker keeps its checkpoint as long as that has cells left. A free one takes the checkpoint with most work that nobody
has opened, or helps with one that is ready. So training the largest rung begins first, and no one waits at the end.
Cost: some seconds for each worker to import PyTorch.
What goes wrong: a worker that the system kills takes its cell with it (a record that says so), and one worker
less goes on.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any

from pliant.study.cell import failed_cell
from pliant.study.planning import Cell, Plan
from pliant.study.record import Record
from pliant.study.worker import Bench, Settings

Deliver = Callable[[list[Record]], None]
Advance = Callable[[float], None]


@dataclass
class Queue:
    """The cells that nobody has taken, by rung; the unchanged checkpoint first, then the costliest."""

    plan: Plan
    in_order: bool = False
    """Take rungs in the plan's order, one after the other, instead of the costliest first."""
    waiting: dict[int, list[Cell]] = field(default_factory=dict[int, list[Cell]])
    ready: set[int] = field(default_factory=set[int])
    """Rungs that open at no cost: stored ones, and those that a worker has trained."""

    def __post_init__(self) -> None:
        for cell in sorted(self.plan.cells, key=lambda cell: (cell.change.kind != "none", -cell.cost.seconds)):
            self.waiting.setdefault(cell.rung, []).append(cell)
        self.ready |= {number for number in self.waiting if not self.plan.opening[number].seconds}

    def rung_for(self, holding: int | None, held_by_others: set[int]) -> int | None:
        """The rung a free worker should turn to, given the one it holds and those the others hold; None when there is none."""
        if holding in self.waiting:
            return holding
        mine = [number for number in self.waiting if number not in held_by_others]
        shared = [number for number in self.waiting if number in self.ready]
        if self.in_order:
            return min(mine, default=None)
        return max(mine, key=self.cost, default=None) if mine else max(shared, key=self.cost, default=None)

    def cost(self, number: int) -> float:
        """Seconds of work left on a rung that nobody has taken."""
        left = sum(cell.cost.seconds for cell in self.waiting[number])
        return left + (0.0 if number in self.ready else self.plan.opening[number].seconds)

    def take(self, number: int) -> Cell:
        """The next cell of a rung."""
        cells = self.waiting[number]
        cell = cells.pop(0)
        if not cells:
            del self.waiting[number]
        return cell

    def take_all(self, number: int) -> list[Cell]:
        """Every cell of a rung that is left."""
        return self.waiting.pop(number, [])


@dataclass
class Worker:
    """The parent's side of a worker process."""

    process: subprocess.Popen[bytes]
    connection: Connection
    rung: int | None = None
    cell: Cell | None = None
    """The cell it is running."""
    opening: bool = False
    share: float = 0.0
    """How much of the opening has been reported as done."""

    @property
    def busy(self) -> bool:
        """Whether an answer is to come."""
        return self.opening or self.cell is not None

    @classmethod
    def start(cls, settings: Settings) -> Worker:
        """A new process, ready for tasks."""
        ours, theirs = Pipe()
        environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(settings.threads))
        process = subprocess.Popen(
            [sys.executable, "-m", "pliant.study.worker", str(theirs.fileno()), str(os.getpid())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=environment | {"TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": os.pathsep.join(filter(None, settings.path))},
        )
        theirs.close()
        worker = cls(process, ours)
        worker.send(settings)
        return worker

    def send(self, task: Any) -> None:
        """A task. One that died meanwhile shows when its answer is awaited."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(task)

    def stop(self) -> None:
        """End the process now."""
        self.process.terminate()
        self.process.wait()
        self.connection.close()


class Pool:
    """Runs a plan's cells in `count` processes. `deliver` gets each cell's records, `advance` the seconds' worth of work done."""

    def __init__(self, plan: Plan, queue: Queue, settings: Settings, count: int, deliver: Deliver, advance: Advance) -> None:
        self.plan, self.queue, self.settings, self.count = plan, queue, settings, count
        self.deliver, self.advance = deliver, advance
        self.workers: list[Worker] = []

    def run(self) -> None:
        """Until every cell is delivered. Processes are gone afterwards, also when this raises."""
        try:
            self._assign()
            while busy := {worker.connection: worker for worker in self.workers if worker.busy}:
                for connection in wait(list(busy)):
                    self._listen(busy[connection])  # pyright: ignore[reportArgumentType]
                self._assign()
        finally:
            for worker in self.workers:
                worker.stop()

    def _assign(self) -> None:
        """Give every free worker something to do, and start workers while there is work for more."""
        for worker in self.workers:
            if not worker.busy:
                self._turn(worker)
        while len(self.workers) < self.count and self.queue.rung_for(None, self._held()) is not None:
            self.workers.append(Worker.start(self.settings))
            self._turn(self.workers[-1])

    def _held(self, but: Worker | None = None) -> set[int]:
        """The rungs that workers hold."""
        return {worker.rung for worker in self.workers if worker is not but and worker.rung is not None}

    def _turn(self, worker: Worker) -> None:
        """Give one free worker its next task, if there is any."""
        number = self.queue.rung_for(worker.rung, self._held(but=worker))
        if number is not None and number == worker.rung:
            worker.cell = self.queue.take(number)
            worker.send(("run", worker.cell))
        elif number is not None:
            worker.rung, worker.opening, worker.share = number, True, 0.0
            worker.send(("open", self.plan.rungs[number]))

    def _listen(self, worker: Worker) -> None:
        """Take one answer."""
        try:
            kind, content = worker.connection.recv()
        except (EOFError, ConnectionError):
            self._bury(worker)
            return
        if kind == "share":
            self._opened(worker, content)
        elif kind == "opened":
            worker.opening = False
            self._opened(worker, 1.0, error=content)
        else:
            cell, worker.cell = worker.cell, None
            self._done(cell, content)

    def _opened(self, worker: Worker, share: float, error: str | None = None) -> None:
        """How far the opening of the worker's rung is; at 1 it is over, and with an error the rung's cells are."""
        number = worker.rung
        assert number is not None
        if number not in self.queue.ready:
            self.advance(max(0.0, share - worker.share) * self.plan.opening[number].seconds)
            worker.share = max(share, worker.share)
        if error is not None:
            worker.rung = None
            self._fail(number, error)
        elif share == 1.0 and not worker.opening:
            self.queue.ready.add(number)

    def _fail(self, number: int, error: str) -> None:
        """Every cell of a rung that is left has failed."""
        for cell in self.queue.take_all(number):
            self._done(cell, failed_cell(cell, self.plan.rungs[number].checkpoint, error))

    def _done(self, cell: Cell | None, records: list[Record]) -> None:
        assert cell is not None
        self.deliver(records)
        self.advance(cell.cost.seconds)

    def _bury(self, worker: Worker) -> None:
        """A worker has died: what it was doing has failed."""
        self.workers.remove(worker)
        self.count = max(1, self.count - 1)
        worker.connection.close()
        code = worker.process.wait()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        advice = "; if memory ran out, use fewer workers or smaller batches" if code == -9 else ""
        error = f"the worker process {how}{advice}"
        assert worker.rung is not None
        if worker.cell is not None:
            self._done(worker.cell, failed_cell(worker.cell, self.plan.rungs[worker.rung].checkpoint, error))
        elif worker.rung not in self._held():  # else another holds it, and goes on without this one's help
            self._fail(worker.rung, error)


def run_here(plan: Plan, queue: Queue, bench: Bench, deliver: Deliver, advance: Advance) -> None:
    """The same in this process, for studies that are over before a worker would have started."""
    holding: int | None = None
    try:
        while (number := queue.rung_for(holding, set())) is not None:
            if number != holding:
                error = bench.open(plan.rungs[number])
                advance(plan.opening[number].seconds)
                holding = number
                if error is not None:
                    for cell in queue.take_all(number):
                        deliver(failed_cell(cell, plan.rungs[number].checkpoint, error))
                        advance(cell.cost.seconds)
                continue
            cell = queue.take(number)
            deliver(bench.run(cell))
            advance(cell.cost.seconds)
    finally:
        bench.close()
