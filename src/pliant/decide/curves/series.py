"""A ledger as curves-to-be: one series of per-sample values along its axis for every (ladder, change, measure).

Idea: only what is comparable stands in one series: one family of checkpoints of one recipe, one change, one measure on the
same samples. Several weights of one family at the same place (seeds) are independent runs.
Cost: one query; the samples of the whole ledger in memory (8 bytes each).
What goes wrong: folders of one run must share their parent folder, or their facts, to be seen as one family.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pliant.axes import Axis, axis_named
from pliant.changes import Change, recorded
from pliant.decide.curves.curve import Curve
from pliant.errors import PliantError
from pliant.ledger.clusters import clusters_of, tied_by
from pliant.measures import MEASURES
from pliant.measures.measure import documents
from pliant.statistics import Array, joint_clusters

if TYPE_CHECKING:
    from pliant.ledger import Ledger

LADDER = ("study", "family", "params", "schedule", "peak_lr", "training_bits", "axis")
"""What checkpoints of one ladder have in common; but for the fact that is its axis."""
ALIKE = (*LADDER, "change_json", "measure", "measure_json", "metric", "unit", "better", "data", "ids")
"""What records of one series have in common; `ids` stands for its samples and what they weigh."""
SAMPLES = "sample_ids, sample_weights"
FACTS = ("key", "checkpoint", "base_weights", "position", "phase", "final_lr", "seed", "draw")


@dataclass(frozen=True)
class Point:
    """What was measured at one place: `values` (seeds, draws, samples), and `base` (seeds, samples) before the change."""

    position: float
    values: Array = field(repr=False)
    base: Array | None = field(repr=False)
    runs: int
    """Different weights among the seeds: runs of their own."""
    final_lr: float | None = None


@dataclass(frozen=True)
class Series:
    """One change and one measure along one ladder; `weights` and `documents` describe the samples all points share.

    `ladder` holds the values of `LADDER`; `tuned` says that the change's learning rate was chosen anew at every point. `documents`
    are what samples count with by themselves, `tied` with what the change's draws tie together, both as whole numbers from 0.
    """

    ladder: dict[str, Any]
    change: Change
    measure: str
    measure_json: str
    metric: str
    unit: str
    higher_is_better: bool
    weights: Array = field(repr=False)
    documents: NDArray[np.int64] = field(repr=False)
    tied: NDArray[np.int64] = field(repr=False)
    points: tuple[Point, ...]
    tuned: bool = False
    phase: str | None = None
    """Of training, where all its checkpoints are of one."""

    @property
    def axis(self) -> Axis:
        """What the ladder runs over."""
        return axis_named(self.ladder.get("axis"), self.phase)

    def reads_training_data(self) -> bool:
        """Whether the measure reads what the change trains on; not where the measure is of a kind that is not installed here."""
        try:
            measure = MEASURES.parse(json.loads(self.measure_json))
        except PliantError:
            return False
        read = list(measure.content())
        return any(part in read for content in self.change.trains_on for part in content.content())

    def curve(self) -> Curve:
        """The metric along the axis. Raises PliantError as `Curve.from_samples` does."""
        return self._curve(self.points, lambda point: point.values)

    def rises(self) -> Curve | None:
        """What the change did, paired with the unchanged weights; None where fewer than two points know them."""
        known = [point for point in self.points if point.base is not None]
        if len(known) < 2:
            return None
        return self._curve(known, lambda point: point.values - np.asarray(point.base)[:, None, :])

    def base(self) -> Curve | None:
        """The unchanged checkpoints; None where fewer than two points know them."""
        known = [point for point in self.points if point.base is not None]
        return self._curve(known, lambda point: np.asarray(point.base)[:, None, :]) if len(known) >= 2 else None

    def draws(self, point: Point) -> int:
        """How many random draws of the change are behind a point."""
        return point.values.shape[1] * self.change.draws // self.change.repeats

    def clusters(self, points: Sequence[Point]) -> NDArray[np.int64]:
        """What each sample counts with: its document; and what draws tie to it, where no other seed shows how much draws differ."""
        return self.tied if max(len(point.values) for point in points) == 1 else self.documents

    def _curve(self, points: Sequence[Point], values: Callable[[Point], Array]) -> Curve:
        return Curve.from_samples(
            [point.position for point in points],
            [values(point) for point in points],
            self.weights,
            self.clusters(points),
            # where all runs begin, with the same weights, there is no spread between runs of what no run has altered yet
            min([point.runs for point in points if point.runs > 1 or point.position != self.axis.beginning] or [1]),
            higher_is_better=self.higher_is_better,
            rising=self.axis.rising,
            beginning=self.axis.beginning,
        )


def read(ledger: Ledger, study: str | None = None) -> list[Series]:
    """Every series of the ledger, or of one study in it, the unchanged checkpoints first, changes in a natural order.

    Records without a place on their axis or a value are left out. Raises PliantError for a ledger that cannot be read.
    """
    from pliant.ledger.views import connect

    columns = ", ".join((*FACTS, *(name for name in ALIKE if name not in ("family", "ids"))))
    with connect(ledger) as connection:
        table = connection.sql(
            f"select {columns}, hash({SAMPLES}) as ids, hash(sample_clusters) as clusters, sample_values from shards "
            "where position is not null and len(sample_values) > 0"
        ).to_arrow_table()
        samples = connection.sql(
            f"select hash({SAMPLES}) as ids, any_value(sample_ids) as names, any_value(sample_weights) as weights from shards group by 1"
        ).to_arrow_table()
        clusters = connection.sql(
            "select hash(sample_clusters) as clusters, any_value(sample_clusters) as stored from shards group by 1"
        ).to_arrow_table()
    shared = {row["ids"]: row for row in samples.to_pylist()}
    stored = {row["clusters"]: row["stored"] for row in clusters.to_pylist()}
    lists = table["sample_values"].combine_chunks()
    values = np.split(lists.values.to_numpy(), lists.offsets.to_numpy()[1:-1]) if len(lists) else []
    facts = table.drop_columns(["sample_values"]).to_pylist()
    arms = _arms(facts)
    rows = [
        row | {"values": found, "family": family(row)} | dict.fromkeys(_varying(row, arms))
        for row, found in zip(facts, values, strict=True)
        if study is None or row["study"] == study
    ]
    base = {_reading(row): row for row in rows if recorded(row["change_json"]).unchanged}
    series = [_series(alike, shared[alike[0]["ids"]], stored, base) for alike in _grouped(rows, ALIKE)]
    return sorted(
        series, key=lambda found: (found.ladder["study"], found.ladder["family"], found.ladder["params"] or 0, natural(found.change))
    )


def natural(change: Change) -> tuple[Any, ...]:
    """A sort key: no change first, then single changes before chains, then by what they are called, weak before strong."""
    return not change.unchanged, len(change.singly()), change.title(), strengths(change), change.canonical_json()


def in_natural_order(rows: Iterable[dict[str, Any]], alike: Sequence[str]) -> list[dict[str, Any]]:
    """Rows with a `change_json`, the first of each place where it stood; those of one place, equal in `alike`, by their changes."""
    rows = list(rows)
    order = {text: natural(recorded(text)) for text in {row["change_json"] for row in rows}}
    return [row for group in _grouped(rows, alike) for row in sorted(group, key=lambda row: order[row["change_json"]])]


def strengths(change: Change, tuned: bool = False) -> list[tuple[bool, float]]:
    """Sorts from weak to strong, by the first link of a chain first; what has no strength of its own, as a tuned rate, stands last."""
    return [_strength(link, tuned) for link in change.singly()]


def _strength(change: Change, tuned: bool) -> tuple[bool, float]:
    strength = None if tuned and change.rate_field == change.strength_field else change.strength
    return strength is None, 0.0 if strength is None else strength if change.stronger == "higher" else -strength


def reading_name(measure: str, metric: str, metrics: Collection[str]) -> str:
    """What a measure's reading is called: as the study calls the measure, with the metric's name where there are several."""
    return measure if len(metrics) == 1 else f"{measure} {metric}"


def family(row: Mapping[str, Any]) -> str:
    """What the checkpoints of one ladder share in their addresses: the name before `@`, or the folder that holds them.

    Sizes of one ladder have names of their own; what they share is the study.
    """
    if row["axis"] == "params":
        return str(row["study"])
    name, _, revision = str(row["checkpoint"]).partition("@")
    return name if revision or "/" not in name.rstrip("/") else name.rstrip("/").rsplit("/", 1)[0]


def _varying(row: Mapping[str, Any], arms: set[Any]) -> list[str]:
    """What is no part of what a ladder shares: what it runs over; along sizes also the peak learning rate, where each has its own."""
    return [row["axis"], "peak_lr"] if row["axis"] == "params" and row["study"] not in arms else [row["axis"]]


def _arms(rows: Iterable[Mapping[str, Any]]) -> set[Any]:
    """The studies in which checkpoints of one size and schedule have several peak learning rates: those are ladders beside each other."""
    rates: dict[tuple[Any, ...], set[Any]] = {}
    for row in rows:
        rates.setdefault(tuple(row[name] for name in ("study", "params", "schedule", "training_bits")), set()).add(row["peak_lr"])
    return {study for (study, *_), found in rates.items() if len(found) > 1}


def _reading(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a change's reading and the unchanged one that it is paired with have in common."""
    return tuple(row[name] for name in ("base_weights", "measure_json", "metric", "data", "ids"))


def _grouped(rows: Iterable[dict[str, Any]], names: Sequence[str]) -> list[list[dict[str, Any]]]:
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return list(groups.values())


def _series(rows: Sequence[dict[str, Any]], samples: Mapping[str, Any], stored: Mapping[int, Any], base: Mapping[Any, Any]) -> Series:
    first, names = rows[0], documents(samples["names"])
    change = recorded(first["change_json"])
    own = [tied_by(change, stored[clusters], names) for clusters in dict.fromkeys(row["clusters"] for row in rows)]
    unchanged = next((base[reading] for reading in map(_reading, rows) if reading in base), first)
    seen = clusters_of(stored[unchanged["clusters"]], names)
    axis = axis_named(first["axis"])
    points = [_point(same, base) for same in sorted(_grouped(rows, ["position"]), key=lambda group: axis.along(group[0]["position"]))]
    return Series(
        ladder={name: first[name] for name in LADDER},
        change=change,
        measure=first["measure"],
        measure_json=first["measure_json"],
        metric=first["metric"],
        unit=first["unit"],
        higher_is_better=first["better"] == "higher",
        weights=np.asarray(samples["weights"], float),
        documents=seen,
        tied=reduce(joint_clusters, (numbers for numbers in own if numbers is not None), seen),
        points=tuple(points),
        phase=first["phase"] if len({row["phase"] for row in rows}) == 1 else None,
    )


def _point(rows: Sequence[dict[str, Any]], base: Mapping[Any, Any]) -> Point:
    """The records of one place. The same weights under the same seed count once, whatever they are called."""
    seeds: dict[tuple[Any, ...], dict[int, Array]] = {}
    before: list[dict[str, Any] | None] = []
    for row in sorted(rows, key=lambda row: (row["seed"], row["base_weights"] or row["checkpoint"], row["draw"])):
        weights = row["base_weights"] or row["checkpoint"]
        seed = (weights, None if recorded(row["change_json"]).unchanged else row["seed"])
        if seed not in seeds:
            before.append(base.get(_reading(row)))
        seeds.setdefault(seed, {}).setdefault(row["draw"], row["values"])
    draws = sorted(set.intersection(*(set(found) for found in seeds.values())))
    known = [row["values"] for row in before if row is not None]
    return Point(
        position=rows[0]["position"],
        values=np.stack([np.stack([found[draw] for draw in draws]) for found in seeds.values()]),
        base=np.stack(known) if len(known) == len(seeds) else None,
        runs=len({weights for weights, _ in seeds}),
        final_lr=rows[0]["final_lr"],
    )
