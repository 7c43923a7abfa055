"""The pool: cells go to workers, largest first, and come back as records.

Cost: some seconds for each worker to import PyTorch.
What goes wrong: a worker that the system kills takes its cell with it (a record that says so), and one worker less goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from pliant.errors import PliantError
from pliant.ledger.record import Record
from pliant.study.cell import failed_cell
from pliant.study.messages import Answer, Finished, Opened, Opening, OpenRung, RunCell
from pliant.study.planning import Cell, Plan
from pliant.study.processes import Executor, Worker, WorkerDied
from pliant.study.queue import Queue
from pliant.study.session import Session

Deliver = Callable[[Sequence[Record]], None]
Advance = Callable[[float], None]


class Pool:
    """Runs a plan's cells on `count` workers. `deliver` gets each cell's records, `advance` the seconds' worth of work done."""

    def __init__(self, plan: Plan, queue: Queue, executor: Executor, count: int, deliver: Deliver, advance: Advance) -> None:
        self.plan, self.queue, self.executor, self.count = plan, queue, executor, count
        self.deliver, self.advance = deliver, advance
        self.workers: list[Worker] = []

    def run(self) -> None:
        """Until every cell is delivered. The workers are gone afterwards, also when this raises."""
        try:
            self._assign()
            while busy := [worker for worker in self.workers if worker.busy]:
                for worker in self.executor.ready(busy):
                    self._listen(worker)
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
            try:
                self.workers.append(self.executor.start())
            except PliantError:
                if not self.workers:
                    raise
                self.count = len(self.workers)  # they go on without another
                return
            self._turn(self.workers[-1])

    def _held(self, but: Worker | None = None) -> set[int]:
        """The rungs that workers hold."""
        return {worker.rung for worker in self.workers if worker is not but and worker.rung is not None}

    def _turn(self, worker: Worker) -> None:
        """Give one free worker its next task, if there is any."""
        number = self.queue.rung_for(worker.rung, self._held(but=worker))
        if number is not None and number == worker.rung:
            worker.cell = self.queue.take(number)
            worker.send(RunCell(worker.cell))
        elif number is not None:
            worker.rung, worker.opening, worker.progress = number, True, 0.0
            worker.send(OpenRung(self.plan.rungs[number]))

    def _listen(self, worker: Worker) -> None:
        """Take one answer."""
        try:
            answer = cast("Answer", worker.receive())
        except WorkerDied as error:
            self._died(worker, str(error))
            return
        match answer:
            case Opening(progress):
                self._opening(worker, progress)
            case Opened(error):
                self._opening(worker, 1.0)
                self._opened(worker, error)
            case Finished(records):
                cell, worker.cell = worker.cell, None
                self._done(cell, records)

    def _opening(self, worker: Worker, progress: float) -> None:
        """So much of the opening of the worker's rung is done, unless it is ready and another helps with it."""
        assert worker.rung is not None
        if worker.rung not in self.queue.ready:
            self.advance(max(0.0, progress - worker.progress) * self.plan.opening[worker.rung].seconds)
            worker.progress = max(progress, worker.progress)

    def _opened(self, worker: Worker, error: str | None) -> None:
        """The opening of the worker's rung is over, and with an error the rung's cells are."""
        number, worker.opening = worker.rung, False
        assert number is not None
        if error is None:
            self.queue.ready.add(number)
        else:
            worker.rung = None
            self._fail(number, error)

    def _fail(self, number: int, error: str) -> None:
        """Every cell of a rung that is left has failed."""
        for cell in self.queue.take_all(number):
            self._done(cell, failed_cell(cell, self.plan.rungs[number].checkpoint, error))

    def _done(self, cell: Cell | None, records: Sequence[Record]) -> None:
        assert cell is not None
        self.deliver(records)
        self.advance(cell.cost.seconds)

    def _died(self, worker: Worker, error: str) -> None:
        """What it was doing has failed, and one worker less goes on."""
        self.workers.remove(worker)
        self.count = max(1, self.count - 1)
        assert worker.rung is not None
        if worker.cell is not None:
            self._done(worker.cell, failed_cell(worker.cell, self.plan.rungs[worker.rung].checkpoint, error))
        elif worker.rung not in self._held():  # else another holds it, and goes on without this one's help
            self._fail(worker.rung, error)


def run_here(plan: Plan, queue: Queue, session: Session, deliver: Deliver, advance: Advance) -> None:
    """The same in this process, for studies that are over before a worker would have started."""
    holding: int | None = None
    try:
        while (number := queue.rung_for(holding, set())) is not None:
            if number != holding:
                error = session.open(plan.rungs[number])
                advance(plan.opening[number].seconds)
                holding = number
                if error is not None:
                    for cell in queue.take_all(number):
                        deliver(failed_cell(cell, plan.rungs[number].checkpoint, error))
                        advance(cell.cost.seconds)
                continue
            cell = queue.take(number)
            deliver(session.run(cell))
            advance(cell.cost.seconds)
    finally:
        session.close()
