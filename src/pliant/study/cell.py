"""One cell: a change applied to an open checkpoint, every measure read, the records that come of it."""

from __future__ import annotations

import time
from contextlib import ExitStack
from math import isfinite
from typing import TYPE_CHECKING, Any

from pliant.errors import PliantError
from pliant.study.planning import Cell
from pliant.study.record import Record

if TYPE_CHECKING:
    from pliant.measures import Measure, Reading
    from pliant.models import Checkpoint, Model


def run_cell(cell: Cell, model: Model, base_weights: str) -> list[Record]:
    """Every draw of the cell's change, and every measure on it; a measure that fails in one draw has failed.

    The model is as it was afterwards. Nothing is raised but what stops a process: errors become records.
    """
    records: dict[str, list[Record]] = {name: [] for name in cell.measures}
    failures: dict[str, Record] = {}
    for draw in range(cell.change.draws):
        wanted = {name: measure for name, measure in cell.measures.items() if name not in failures}
        started = time.perf_counter()
        with ExitStack() as stack:
            try:
                changed = stack.enter_context(cell.change.applied(model, cell.seed, draw))
                weights = changed.weights() if wanted else None
            except Exception as error:
                failures |= {name: failed(cell, name, model.checkpoint, error) for name in wanted}
                break
            shared = (time.perf_counter() - started) / max(1, len(wanted))
            for name, measure in wanted.items():
                facts = {"weights": weights, "base_weights": base_weights, "draw": draw} | _place(changed)
                try:
                    records[name].append(_read(cell, name, measure, changed, facts, shared))
                except Exception as error:
                    failures[name] = failed(cell, name, model.checkpoint, error, base_weights)
    return [record for name in cell.measures for record in ([failures[name]] if name in failures else records[name])]


def _read(cell: Cell, name: str, measure: Measure, model: Model, facts: dict[str, Any], shared: float) -> Record:
    """One reading as a record. `shared` are the seconds of the change that this measure answers for."""
    started = time.perf_counter()
    reading: Reading = measure(model)
    estimate = reading.estimate()
    return Record(
        **_about(cell, name, model.checkpoint),
        **facts,
        metric=reading.metric,
        value=estimate.value,
        stderr=estimate.stderr if isfinite(estimate.stderr) else None,
        n=len(reading.samples),
        unit=reading.unit,
        data=reading.data,
        seconds=shared + time.perf_counter() - started,
        sample_ids=list(reading.samples),
        sample_values=reading.values,
        sample_weights=reading.weights,
    )


def failed(cell: Cell, name: str, checkpoint: Checkpoint, error: BaseException | str, base_weights: str | None = None) -> Record:
    """The record of a measure that could not be read. A programming mistake is named by its kind as well."""
    text = str(error) if isinstance(error, (str, PliantError)) else f"{type(error).__name__}: {error}"
    line = " ".join(text.split())[:500]
    return Record(**_about(cell, name, checkpoint), base_weights=base_weights, status="failed", error=line)


def failed_cell(cell: Cell, checkpoint: Checkpoint, error: BaseException | str) -> list[Record]:
    """The records of a cell none of whose measures could be read."""
    return [failed(cell, name, checkpoint, error) for name in cell.measures]


def _about(cell: Cell, name: str, checkpoint: Checkpoint) -> dict[str, Any]:
    """What a record says before anything was measured."""
    return {
        "study": cell.study,
        "checkpoint": checkpoint.address,
        **{fact: getattr(checkpoint, fact) for fact in FACTS},
        "training_seed": checkpoint.seed,
        "change_kind": cell.change.kind,
        "change_json": cell.change.canonical_json(),
        "measure": name,
        "measure_json": cell.measures[name].canonical_json(),
        "seed": cell.seed,
        "cell": cell.name,
        "key": cell.keys[name],
    }


FACTS = (
    "params",
    "params_non_embedding",
    "tokens",
    "unique_tokens",
    "peak_lr",
    "final_lr",
    "schedule",
    "phase",
    "training_bits",
)


def _place(model: Model) -> dict[str, str]:
    """Where and with which numbers a model runs, by the words PyTorch has for them."""
    parameter = next(model.network.parameters())
    return {"device": parameter.device.type, "dtype": str(parameter.dtype).removeprefix("torch.")}
