"""One cell: a change applied to an open checkpoint, every measure read, the records that come of it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any

from pliant.errors import message, named
from pliant.ledger.clusters import stored_clusters
from pliant.ledger.record import Record, arrow_table, stated_facts
from pliant.ledger.valid import check
from pliant.measures.measure import by_metric
from pliant.measures.shares import joined
from pliant.spec import digest
from pliant.study.planning import Cell

if TYPE_CHECKING:
    from pliant.measures import Reading
    from pliant.measures.measure import Read
    from pliant.models import Checkpoint, Model


def run_cell(cell: Cell, model: Model, base_weights: str) -> list[Record]:
    """Every draw of the cell's change, and every measure on it, a record for each of its readings; a measure that fails in one draw
    has failed, and so has one whose draws are read by different metrics.

    Where the change's draws are divided among shares of the samples, a record has a value for every sample, each read under
    its own share's draw. The model is as it was afterwards. Nothing is raised but what stops a process: errors become records.
    """
    running = _Running(cell, model, base_weights)
    records: dict[str, list[Record]] = {name: [] for name in cell.measures}
    for repeat in range(cell.change.repeats):
        for name, found in running.records(repeat).items():
            records[name] += found
    return [record for name in cell.measures for record in ([running.failures[name]] if name in running.failures else records[name])]


@dataclass
class _Found:
    """What the records of one draw are made of: the readings of each share, and where they were made."""

    shares: list[Sequence[Reading]] = field(default_factory=list["Sequence[Reading]"])
    weights: list[str] = field(default_factory=list[str])
    place: dict[str, Any] = field(default_factory=dict[str, Any])
    seconds: float = 0.0


class _Running:
    """A cell at work; `failures` are the measures that have failed so far."""

    def __init__(self, cell: Cell, model: Model, base_weights: str) -> None:
        self.cell, self.model, self.base_weights = cell, model, base_weights
        self.failures: dict[str, Record] = {}
        self.first: dict[str, Sequence[Reading]] = {}
        self.parts: dict[str, Sequence[Read]] = {}
        for name, measure in cell.measures.items():
            with self._failing(name):
                self.parts[name] = measure.in_shares(model, cell.change.shares)

    def records(self, repeat: int) -> dict[str, list[Record]]:
        """What the measures that have not failed say of every sample, the `repeat`-th time, metric by metric."""
        found = {name: _Found() for name in self.parts}
        for share in range(self.cell.change.shares):
            self._read(repeat, share, found)
        records: dict[str, list[Record]] = {}
        for name in self._wanted():
            with self._failing(name):
                readings = [joined(shares) for shares in by_metric(found[name].shares)]
                by_metric([self.first.setdefault(name, readings), readings])
                records[name] = [self._record(name, reading, found[name], repeat, len(readings)) for reading in readings]
        return records

    def _read(self, repeat: int, share: int, found: Mapping[str, _Found]) -> None:
        """Make the change once, and read one share of every measure."""
        if not (wanted := self._wanted()):
            return
        cell, started = self.cell, time.perf_counter()
        with ExitStack() as stack:
            try:
                changed = stack.enter_context(cell.change.applied(self.model, cell.seed, cell.change.share_draw(repeat, share)))
                weights = changed.weights()
            except Exception as error:
                self.failures |= {name: failed(cell, name, self.model.checkpoint, error) for name in wanted}
                return
            shared = (time.perf_counter() - started) / len(wanted)
            for name in wanted:
                started = time.perf_counter()
                with self._failing(name):
                    found[name].shares.append(self.parts[name][share](changed))
                found[name].weights.append(weights)
                found[name].place = _place(changed)
                found[name].seconds += shared + time.perf_counter() - started

    def _record(self, name: str, reading: Reading, found: _Found, draw: int, of: int) -> Record:
        """The record of one of `of` readings, which took the time together."""
        estimate = reading.estimate()
        record = Record(
            **_about(self.cell, name, self.model.checkpoint),
            **found.place,
            weights=found.weights[0] if len(found.weights) == 1 else digest(" ".join(found.weights)),
            base_weights=self.base_weights,
            draw=draw,
            metric=reading.metric,
            value=estimate.value,
            stderr=estimate.stderr if isfinite(estimate.stderr) else None,
            n=len(reading.samples),
            unit=reading.unit,
            better=reading.better,
            data=reading.data,
            seconds=found.seconds / of,
            sample_ids=list(reading.samples),
            sample_values=reading.values,
            sample_weights=reading.weights,
            sample_clusters=stored_clusters(reading.clusters, reading.samples),
            sample_answers=list(reading.answers) or None,
        )
        check(arrow_table([record]))  # here, where what the ledger would refuse is a failed record
        return record

    def _wanted(self) -> list[str]:
        return [name for name in self.parts if name not in self.failures]

    @contextlib.contextmanager
    def _failing(self, name: str) -> Generator[None]:
        """Whatever goes wrong inside is the failure of one measure."""
        try:
            yield
        except Exception as error:
            self.failures[name] = failed(self.cell, name, self.model.checkpoint, error, self.base_weights)


def failed(cell: Cell, name: str, checkpoint: Checkpoint, error: BaseException | str, base_weights: str | None = None) -> Record:
    """The record of a measure that could not be read. A programming mistake is named by its kind as well."""
    line = " ".join((message(error) if isinstance(error, str) else named(error)).split())[:500]
    return Record(**_about(cell, name, checkpoint), base_weights=base_weights, status="failed", error=line)


def failed_cell(cell: Cell, checkpoint: Checkpoint, error: BaseException | str) -> list[Record]:
    """The records of a cell none of whose measures could be read."""
    return [failed(cell, name, checkpoint, error) for name in cell.measures]


def _about(cell: Cell, name: str, checkpoint: Checkpoint) -> dict[str, Any]:
    """What a record says before anything was measured."""
    return {
        "study": cell.study,
        **stated_facts(checkpoint, cell.axis),
        "change_kind": cell.change.kind,
        "change_json": cell.change.canonical_json(),
        "measure": name,
        "measure_json": cell.measures[name].canonical_json(),
        "seed": cell.seed,
        "cell": cell.name,
        "key": cell.keys[name],
    }


def _place(model: Model) -> dict[str, str]:
    """Where and with which numbers a model runs, by the words PyTorch has for them."""
    parameter = next(model.network.parameters())
    return {"device": parameter.device.type, "dtype": str(parameter.dtype).removeprefix("torch.")}
