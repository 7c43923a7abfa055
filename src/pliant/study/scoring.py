"""Scoring on several workers: processes of this machine, or actors of a Ray cluster.

Idea: parts of a scoring stand for themselves, so each goes to whichever worker is free and comes back to one process, which writes
them down in their order (`scores.journal`). A worker that dies loses the part it was reading, which another reads again. So the file is
what one process with one thread would have written, and a killed scoring goes on wherever the next one runs.
Cost: every worker holds the models; the parts that are ahead of the one to be written wait in memory, two a worker.
What goes wrong: every machine must see models and data under the same paths, which their hashes tell.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from pliant.errors import PliantError, named
from pliant.progress import forwarded
from pliant.study.processes import Executor, Processes, Worker, WorkerDied
from pliant.study.worker import WorkerSettings, module_path

if TYPE_CHECKING:
    from pliant.models.ladder import Loading
    from pliant.scores import Score
    from pliant.scores.journal import Each
    from pliant.scores.score import Rows, Scoring
    from pliant.study.session import Session

TRIES = 3
"""Workers that may die over one part before it is given up."""
AHEAD = 2
"""Parts a worker that may be read before the one that is to be written."""


@dataclass(frozen=True)
class ScoringOrder:
    """What is scored by which models, so that any process can do it."""

    score: Score = field(compare=False)
    models: tuple[str, ...]
    """Where they lie."""
    loading: Loading = field(compare=False)
    objective: Any = field(compare=False)
    """Which examples: see `Score.source`."""
    length: int | None
    weights: tuple[str, ...]
    data: str
    """Content hashes of models and examples."""

    def scoring(self, device: str | None) -> Scoring:
        """As the process that gave the order has it. Raises PliantError for other models or data than it has."""
        from pliant.models import load

        models = [load(address, device=device, **self.loading.loading()) for address in self.models]
        if changed := [one for one, model, weights in zip(self.models, models, self.weights, strict=True) if model.weights() != weights]:
            raise PliantError(f"{changed[0]}: is another model where a worker runs; all machines must see the same files")
        examples = self.objective.examples(models[0], self.length)
        if examples.fingerprint != self.data:
            raise PliantError("the data is other data where a worker runs; all machines must see the same files")
        return self.score.scoring(models, examples)


@lru_cache(maxsize=1)
def _opened(order: ScoringOrder, device: str | None) -> Scoring:
    """What a worker keeps open: it gets one order in its life."""
    return order.scoring(device)


@dataclass(frozen=True)
class ScorePart:
    """A task: score the examples with these numbers."""

    order: ScoringOrder
    numbers: range

    def done(self, session: Session) -> Rows | NotScored:
        """Do it."""
        try:
            with forwarded(lambda label, progress: None):
                return _opened(self.order, session.device).read(self.numbers)
        except Exception as error:
            return NotScored(named(error))


@dataclass(frozen=True)
class NotScored:
    """The part cannot be scored because of an error."""

    error: str


@contextmanager
def on_workers(
    order: ScoringOrder, executor: Literal["local", "ray"] = "local", workers: int | None = None, device: str | None = None
) -> Generator[Each]:
    """How parts are read inside the block: by so many workers, or by this process for none of them.

    Raises PliantError where Ray is not installed; inside, the reading raises it as the score does, and for a part at which workers die.
    """
    if executor == "local" and not workers:
        yield map
        return
    settings = WorkerSettings(module_path(), 1, device)
    if executor == "local":
        crew = _Crew(order, Processes(settings), workers or 1)
    else:
        from pliant.study.ray_cluster import Cluster

        cluster = Cluster(settings)
        crew = _Crew(order, cluster, workers or cluster.count)
    with closing(crew):
        yield crew.each


@dataclass
class _Crew:
    """Workers that read parts."""

    order: ScoringOrder
    executor: Executor
    count: int
    doing: dict[int, tuple[Worker, int]] = field(default_factory=dict[int, tuple[Worker, int]])
    """Worker and part, by the worker's `id`."""
    free: list[Worker] = field(default_factory=list[Worker])

    def each(self, read: Callable[[range], Rows], numbers: Sequence[range]) -> Iterator[Rows]:
        """The parts in their order. Raises PliantError, see `on_workers`."""
        waiting, tries = list(range(len(numbers))), [0] * len(numbers)
        done: dict[int, Rows] = {}
        for part in range(len(numbers)):
            while part not in done:
                self._assign(waiting, numbers, part)
                for number, rows in self._answers():
                    if isinstance(rows, WorkerDied):
                        tries[number] += 1
                        if tries[number] == TRIES:
                            raise PliantError(f"examples {numbers[number].start:,} to {numbers[number].stop - 1:,}: {rows}")
                        heapq.heappush(waiting, number)
                    else:
                        done[number] = rows
            yield done.pop(part)

    def _assign(self, waiting: list[int], numbers: Sequence[range], written: int) -> None:
        while waiting and waiting[0] < written + AHEAD * self.count and (self.free or len(self.doing) < self.count):
            worker = self.free.pop() if self.free else self._another()
            if worker is None:
                return
            number = heapq.heappop(waiting)
            self.doing[id(worker)] = worker, number
            worker.send(ScorePart(self.order, numbers[number]))

    def _another(self) -> Worker | None:
        try:
            return self.executor.start()
        except PliantError:
            if not self.doing:
                raise
            self.count = len(self.doing)  # they go on without another
            return None

    def _answers(self) -> Iterable[tuple[int, Any]]:
        """Parts with what came of them, as soon as there is one."""
        for worker in self.executor.ready([worker for worker, _ in self.doing.values()]):
            number = self.doing[id(worker)][1]
            try:
                answer = worker.receive()
            except WorkerDied as error:
                answer = error
            del self.doing[id(worker)]
            if not isinstance(answer, WorkerDied):
                self.free.append(worker)
            if isinstance(answer, NotScored):
                raise PliantError(answer.error)
            yield number, answer

    def close(self) -> None:
        """End the workers."""
        for worker in [*self.free, *(worker for worker, _ in self.doing.values())]:
            worker.stop()
