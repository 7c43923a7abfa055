"""The same answer from the records of a study that fine-tunes with several methods, rates and seeds.

Idea: a study's runs are trials that were trained to the end. The first seed chooses on one half of the documents, the other seeds judge on
the other half; a single seed does both. Runs of the same setting with fewer steps are the points on its way.
When to use it: after a study with `finetune: {methods: [[lora: {rank: 16}], [sfa: {p: 0.25}]], lr: [...], steps: [...]}` and two measures.
What goes wrong: with one number of steps all that is known of the way is its end, and a straight line is taken for it; where the rate
falls towards the end, a shorter run is another run, and no point on the way. Both are said.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pliant.changes.told import corpus_name
from pliant.decide.methods.arm import FULL, TuningArm
from pliant.decide.methods.command import command
from pliant.decide.methods.decide import trained_anew
from pliant.decide.methods.ground import Half
from pliant.decide.methods.halving import TunedArm
from pliant.decide.methods.judge import SLACK, JudgedOn, judged
from pliant.decide.methods.path import Advance, TunedPath
from pliant.decide.methods.plan import SearchPlan
from pliant.decide.methods.records import Finetuned, Row, Run, finetuned, setting
from pliant.errors import PliantError
from pliant.measures import MEASURES, Reading
from pliant.measures.measure import documents
from pliant.spec import nearest
from pliant.statistics import Array, cluster_numbers
from pliant.train.schedules import Constant

if TYPE_CHECKING:
    from pliant.decide.methods.answer import MethodDecision
    from pliant.ledger import Ledger
    from pliant.methods import Method


Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class RecordedTrial:
    """A run of a study, read on some of the samples; or why there is none."""

    lr: float
    methods: tuple[Method, ...]
    found: TunedPath | str

    def path(self, points: Sequence[int], advance: Advance) -> TunedPath:
        """All of it. Raises PliantError for a run that failed or is still to come."""
        if isinstance(self.found, str):
            raise PliantError(self.found)
        return self.found

    def forget(self) -> None:
        """It is a record, and stays."""


def decide_recorded(
    ledger: Ledger, target: str | None = None, keep: str | None = None, share: float = 0.9, margin: float | None = None
) -> list[MethodDecision]:
    """An answer for each checkpoint and recipe; `target` and `keep` are measures, found by what they read where they are not given.

    Raises PliantError where nothing was fine-tuned, for measures that there are not, and for too few documents.
    """
    found = finetuned(ledger)
    if not found:
        raise PliantError(f"{ledger.folder}: holds no fine-tuning by steps beside its unchanged checkpoint; put `none` and it in changes")
    several = len(found) > 1
    return [replace(_decided(one, name, target, keep, share, margin), model=name if several else "") for name, one in found.items()]


def _decided(known: Finetuned, name: str, target: str | None, keep: str | None, share: float, margin: float | None) -> MethodDecision:
    measures = _measures(known, target, keep)
    parts = [_half(known, measures, number) for number in (0, 1)]
    runs, arms = known.runs, _arms(known)
    most = max(len(choices) for choices in arms.values())
    plan = SearchPlan(known.steps[-1], most, max(1, len(runs) - 1))

    def trial(lr: float, methods: tuple[Method, ...], seed: int, judges: bool) -> RecordedTrial:
        run = runs[min(seed, len(runs) - 1)]
        return RecordedTrial(lr, methods, _path(known, setting(lr, methods), run, measures, parts[judges]))

    tuned = [_tuned([trial(lr, methods, 0, False) for lr, methods in choices], arm) for arm, choices in arms.items()]
    finalists = trained_anew(tuned, plan, trial, min(1.0, share + SLACK), 0, lambda _: None)
    about = JudgedOn(
        parts[1].half, plan, *measures, "", lambda chosen: command(name.partition(", ")[0], known.template, chosen, plan.steps)
    )
    found = judged(tuned, finalists, about, share, margin)
    trained = sum(steps for _, steps, _, measure in known.values if measure == measures[0])
    return replace(found, trained=trained, caveats=[*found.caveats, *_caveats(known)])


def _measures(known: Finetuned, target: str | None, keep: str | None) -> tuple[str, str]:
    """What reads what is learned, and what reads what is to be kept. Raises PliantError where that cannot be told."""
    lower = [name for name, row in known.base.items() if row["better"] == "lower"]
    for asked, option in ((target, "target"), (keep, "keep")):
        if asked is not None and asked not in lower:
            raise PliantError(f"{option}: no measure of which less is better is called {asked!r}; {nearest(asked, lower)}")
    trained = {corpus_name(content) for content in known.template.trains_on}
    learned = [target] if target else [name for name in lower if name != keep and trained & _sources(known.base[name])]
    kept = [keep] if keep else [name for name in lower if name not in learned]
    for found, option in ((learned, "target"), (kept, "keep")):
        if len(found) != 1:
            raise PliantError(f"give the measure `{option}`: it may be {'any of ' + ', '.join(found) if found else 'none that was read'}")
    if learned == kept:
        raise PliantError(f"target and keep are both {target!r}; give two measures")
    return learned[0], kept[0]


def _sources(row: Row) -> set[str]:
    return {corpus_name(content) for content in MEASURES.parse(json.loads(row["measure_json"])).content()}


@dataclass(frozen=True)
class _Part:
    """Half of the samples of either measure: which they are, and what the base reads there."""

    half: Half
    among: tuple[Mask, Mask]


def _half(known: Finetuned, measures: tuple[str, str], number: int) -> _Part:
    """Every other document. Raises PliantError for too few."""
    readings, among = list[Reading](), list[Mask]()
    for name in measures:
        row = known.base[name]
        clusters = cluster_numbers(documents(row["samples"]))
        mine = clusters % 2 == number
        if len(np.unique(clusters[mine])) < 2:
            raise PliantError(f"{name}: {clusters.max() + 1} documents are too few to choose by one half and judge by the other; read more")
        samples, values, weights = (np.asarray(row[column])[mine] for column in ("samples", "values", "weights"))
        readings.append(Reading(row["metric"], row["unit"], samples.tolist(), values, weights))
        among.append(mine)
    return _Part(Half((_never, _never), *readings), (among[0], among[1]))


def _never(model: object) -> list[Reading]:
    """Nothing is read anew."""
    return []


def _arms(known: Finetuned) -> dict[TuningArm, list[tuple[float, tuple[Method, ...]]]]:
    """Settings by their methods, whatever strength those have."""
    found: dict[str, list[tuple[float, tuple[Method, ...]]]] = {}
    for lr, methods in sorted(known.settings.values(), key=lambda one: one[0]):
        found.setdefault(" + ".join(map(_called, methods)) or FULL, []).append((lr, methods))
    return {TuningArm(name, tuple(dict.fromkeys(methods for _, methods in settings))): settings for name, settings in found.items()}


def _called(method: Method) -> str:
    """Its kind, and what it is given besides its strength."""
    fields, form = type(method).model_fields, method.canonical()
    given = [name for name, value in method if value != fields[name].get_default(call_default_factory=True)]
    told = {name: form[name] for name in given if name in form and name != method.strength_field}
    return " ".join([method.kind, *(f"{name} {value}" for name, value in told.items())])


def _path(known: Finetuned, named: str, run: Run, measures: tuple[str, str], part: _Part) -> TunedPath | str:
    """A run, at every number of steps; or why there is none."""
    points, readings = (0, *known.steps), (part.half.target, part.half.keep)
    values: list[list[Array]] = [[reading.values] for reading in readings]
    for steps in points[1:]:
        for place, name in enumerate(measures):
            row = known.values.get((named, steps, run, name))
            if row is None:
                return known.failed.get(named, f"seed {run[0]} was not measured after {steps} steps; run the study to its end")
            if row["samples"] != known.base[name]["samples"]:
                return f"{name} was read on other samples than of the unchanged checkpoint"
            values[place].append(np.asarray(row["values"])[part.among[place]])
    targets, kept = map(np.stack, values)
    return TunedPath(points, targets, kept - kept[0], readings[0].weights, readings[1].weights)


def _tuned(trials: Sequence[RecordedTrial], arm: TuningArm) -> TunedArm:
    found = TunedArm(arm, (min(one.lr for one in trials), max(one.lr for one in trials)))
    for one in trials:
        if isinstance(one.found, str):
            found.dropped.append((one, one.found))
        else:
            found.finished.append((one, one.found))
    found.tried = list(found.finished)
    return found


def _caveats(known: Finetuned) -> list[str]:
    found: list[str] = []
    if len(known.runs) == 1:
        found.append("the seed that settings were chosen by is the one that judges them, on other documents; give another")
    if len(known.steps) == 1:
        found.append("runs were read at their end alone, and are taken to have come there on a straight line; give several `steps`")
    elif not isinstance(known.template.schedule, Constant):
        found.append("shorter runs stand for the way of the longest, and are runs of their own under this schedule")
    return found
