"""The plan: which cells a study has, which of them the ledger holds already, and what the rest will cost.

Idea: a record's key is a hash of everything its value depends on: the study's name, the content of the checkpoint, the change
and the measure with the fingerprints of their data, and the seed where the change is random. What is in the ledger under its
key is never measured again; what was altered has another key.
Cost: reading the weights once to hash them (folders), and every corpus once.
What goes wrong: keys do not know pliant's own code; `MEANING` is raised when the same description comes to mean other numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from pliant.changes import Change
from pliant.errors import PliantError
from pliant.ledger.record import stated_facts
from pliant.measures import Measure
from pliant.spec import described, digest
from pliant.study.cost import TYPICAL_CONTEXT, Cost, evaluation, opening, read_at_once, training
from pliant.study.foreseen import impossible, left_out

if TYPE_CHECKING:
    from pliant.ledger.ledger import Ledger
    from pliant.models import Rung
    from pliant.study.study import Study

MEANING = 1
MOST_CELLS = 1_000_000
OPENED = ("params",)
"""Axes along which a stored checkpoint has its place once it has been opened: the ledger finds it in the column of that name."""


@dataclass(frozen=True)
class Cell:
    """One change of one checkpoint with one seed: what a worker does in one go. `measures` are those still to be read."""

    name: str
    study: str
    axis: str
    """What the ladder runs over."""
    rung: int
    change: Change
    seed: int
    measures: dict[str, Measure]
    keys: dict[str, str]
    cost: Cost


@dataclass(frozen=True)
class Plan:
    """A study's work. `cells` are those not finished; `rungs` and `opening` (the cost of each) are indexed by `Cell.rung`."""

    study: Study
    axis: str
    """What its ladder runs over."""
    rungs: list[Rung]
    opening: list[Cost]
    cells: list[Cell]
    finished: int
    """Cells that the ledger holds completely."""
    keys: frozenset[str]
    """Of all records the study will have."""
    facts: dict[str, dict[str, Any]]
    """By key, what the study says of stored checkpoints now, as columns of records. A ladder trained here has it in its keys."""
    skipped: dict[str, str]
    """Folders that the study's patterns match and that are no checkpoints: why, and what to do, by their path."""
    remarks: list[str]
    """What a user should know before it runs, a line each; what is skipped is among it."""

    @property
    def cost(self) -> Cost:
        """Of all unfinished cells, and of opening the checkpoints they need once."""
        needed = {cell.rung for cell in self.cells}
        return sum((self.opening[number] for number in needed), sum((cell.cost for cell in self.cells), Cost()))


def plan(study: Study, ledger: Ledger | None = None, device: str | None = None) -> Plan:
    """The study's cells against what `ledger` holds.

    Raises PliantError for checkpoints that cannot be found, data that cannot be read, changes that the shapes of no checkpoint
    allow, and more cells than can be kept account of.
    """
    finished = ledger.finished() if ledger is not None else set[str]()
    accelerator = device is not None and not device.startswith("cpu")
    readings = {name: described(measure) for name, measure in study.measures.items()}
    changes = [(change, described(change)) for change in study.changes]
    listed = list(_rungs(study, ledger))
    _check_size(study, listed)
    rungs: dict[str, tuple[int, Rung]] = {}
    cells: dict[str, Cell] = {}
    twins: dict[str, str] = {}
    axis = study.checkpoints.along([rung.checkpoint for _, _, rung in listed])
    for seed, identity, rung in listed:
        number, first = rungs.setdefault(identity, (len(rungs), rung))
        if (name := rung.checkpoint.address) != first.checkpoint.address:
            twins[name] = f"{name} holds the same weights as {first.checkpoint.address}, under whose name it is measured"
        for change, meaning in changes:
            drawn = seed if change.stochastic else None
            name = digest(json.dumps([MEANING, study.name, identity, meaning, drawn]))
            if name not in cells:
                keys = {measure: digest(json.dumps([name, measure, reading])) for measure, reading in readings.items()}
                waiting = {measure: study.measures[measure] for measure, key in keys.items() if key not in finished}
                cost = _cost(rung, change, waiting, accelerator)
                cells[name] = Cell(name, study.name, axis, number, change, seed, waiting, keys, cost)
    waiting = [cell for cell in cells.values() if cell.measures]
    costs = [opening(rung.checkpoint.params, rung.cost, accelerator) for _, rung in rungs.values()]
    known = [rung for _, rung in rungs.values()]
    stated = [_stated(study, rung, axis) for rung in known]
    facts = {key: stated[cell.rung] for cell in cells.values() for key in cell.keys.values()}
    skipped = study.checkpoints.skipped()
    damaged = dict.fromkeys(rung.damage for _, _, rung in listed if rung.damage is not None)
    remarks = [
        *left_out(skipped),
        *damaged,
        *twins.values(),
        *dict.fromkeys(note for change in study.changes for note in change.notes()),
        *impossible(known, [(cell.change, cell.rung) for cell in waiting]),
        *study.checkpoints.remarks([rung.checkpoint for rung in known]),
        *_unanswerable(study, known, axis),
    ]
    return Plan(study, axis, known, costs, waiting, len(cells) - len(waiting), frozenset(facts), facts, skipped, remarks)


def _check_size(study: Study, listed: Sequence[Any]) -> None:
    """Raises PliantError when every rung with every change would be more than a plan holds."""
    count = len(listed) * len(study.changes)
    if count > MOST_CELLS:
        told = f"{len(listed)} checkpoints and seeds with {len(study.changes)} changes each"
        raise PliantError(
            f"{told} are {count:,} cells, more than a study can have ({MOST_CELLS:,}); leave some out, or make several studies"
        )


def _rungs(study: Study, ledger: Ledger | None) -> Iterator[tuple[int, str, Rung]]:
    """Every seed's rungs with their identities. Stored checkpoints are the same for every seed, and looked at once."""
    ladder = study.checkpoints
    if ladder.seeded:
        folder = ledger.checkpoints if ledger is not None else None
        for seed in study.seeds:
            for rung in ladder.rungs(seed, folder):
                yield seed, rung.identity, cast("Rung", rung)
        return
    stored = [(_identity(rung), rung) for rung in cast("Sequence[Rung]", ladder.rungs())]
    for seed in study.seeds:
        for identity, rung in stored:
            yield seed, identity, rung


def _identity(rung: Rung) -> str:
    """The content of a stored checkpoint. One that cannot be had is named by its address: its cells fail when it is opened."""
    try:
        return rung.identity
    except PliantError:
        return f"missing {rung.checkpoint.address}"


def _unanswerable(study: Study, rungs: Sequence[Rung], axis: str) -> list[str]:
    """What will keep the study's questions from being answered, each line once."""
    checkpoints = [rung.checkpoint for rung in rungs]
    found = (question.obstacle(checkpoints, axis) for question in study.questions)
    return list(dict.fromkeys(line for line in found if line is not None))


def _stated(study: Study, rung: Rung, axis: str) -> dict[str, Any]:
    """What the study says of a stored checkpoint, as columns. Its parameters are counted when it is opened.

    Axis and position are said together or not at all, so that no position is ever taken for one on another axis.
    """
    if study.checkpoints.seeded:
        return {}
    stated = {column: value for column, value in stated_facts(rung.checkpoint, axis).items() if not column.startswith("params")}
    if axis in OPENED:
        return {column: value for column, value in stated.items() if column != "position"}
    return stated if "position" in stated else {column: value for column, value in stated.items() if column != "axis"}


def _cost(rung: Rung, change: Change, measures: dict[str, Measure], accelerator: bool) -> Cost:
    params, context = rung.checkpoint.params, TYPICAL_CONTEXT
    if change.trains_on or any(measure.pictures() for measure in measures.values()):  # an outline takes time, and tells these alone
        context = read_at_once(rung.outline())
    tokens = sum(measure.tokens() + context * measure.pictures() for measure in measures.values())
    trained = change.training_tokens(context)
    return training(params, change.draws * trained, accelerator) + evaluation(params, change.repeats * tokens, accelerator)
