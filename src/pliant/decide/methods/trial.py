"""One run of a search: trained as far as it is asked, read there, and gone on with later; what was done once is never done again.

Its folder is named by everything the run depends on. It holds the state it goes on from, what was read after each point, and, where the
run diverged, how. A killed search therefore finds what it had: at most the seconds since the last saved state are trained again.
Cost: a state is three times the weights on disk; it goes when the run is over or out.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from pliant.changes import Finetune
from pliant.changes.restore import restored
from pliant.decide.methods.ground import Ground, Half
from pliant.decide.methods.path import Advance, TunedPath
from pliant.errors import PliantError, first_line
from pliant.files import DAMAGED_ARCHIVE, atomic_path
from pliant.methods import Method
from pliant.spec import content_form, digest
from pliant.statistics import Array
from pliant.train import Diverged
from pliant.train.divergence import raise_again, remember
from pliant.train.factor_stack import SharedArm
from pliant.train.state import STATE_FILE, steps_made

MEANING = 1
"""Raised when the same description comes to mean another run."""


@dataclass(frozen=True)
class TuningTrial:
    """One arm at one setting with one seed, read on one half of the samples."""

    ground: Ground
    lr: float
    methods: tuple[Method, ...]
    seed: int
    half: Half

    @property
    def finetune(self) -> Finetune:
        """How it trains."""
        return self.ground.finetune.model_copy(update={"lr": self.lr, "methods": self.methods})

    @cached_property
    def place(self) -> Path:
        """Its folder. Raises PliantError for data that cannot be read."""
        template = self.ground.finetune
        named = {"data", "objective", "part", "lr", "methods"}
        how = {name: value for name, value in template.canonical().items() if name not in named} | {"length": template.longest}
        content = [content_form(part) for part in (template.learned, *self.methods)]
        told = [MEANING, self.ground.weights, how, content, self.lr, self.seed]
        return self.ground.folder / f"run-{digest(json.dumps(told, sort_keys=True))}"

    def path(self, points: Sequence[int], advance: Advance) -> TunedPath:
        """What it learns and forgets along these points, trained now where it was not before.

        `advance` is told of every step. Raises Diverged, also where the run did before, and PliantError where it cannot run.
        """
        base, values, before = self.half, list[tuple[Array, Array]](), 0
        for point in points:
            values.append(self._stored(point) or self._made(point))
            advance(point - before)
            before = point
        targets = np.stack([base.target.values, *(target for target, _ in values)])
        kept = np.stack([base.keep.values, *(keep for _, keep in values)])
        return TunedPath((0, *points), targets, kept - kept[0], base.target.weights, base.keep.weights)

    def steps_to_go_on_from(self, points: Sequence[int]) -> int | None:
        """How many steps its state comes after; None where nothing is left to train, or what was read before it has to be made again."""
        record, state = self.place / "diverged.json", self._unfinished / STATE_FILE
        made = steps_made(state) if state.exists() else 0
        if record.exists() or made is None or made >= points[-1]:
            return None
        return made if all((self._stored(point) is not None) == (point <= made) for point in points) else None

    def shared(self) -> SharedArm:
        """The run as one of several that are trained together."""
        return SharedArm(self.finetune.recipe(self.ground.model), self.seed, self.methods, self._unfinished)

    def keep(self, point: int) -> None:
        """Read the ground's model, which is this run after so many steps; what cannot be read is left to `path`."""
        try:
            self._write(point, *self._read(point))
        except Diverged:
            return

    def forget(self) -> None:
        """Remove the state that it would go on from."""
        shutil.rmtree(self._unfinished, ignore_errors=True)

    @property
    def _unfinished(self) -> Path:
        return self.place / "unfinished"

    def _file(self, point: int) -> Path:
        return self.place / f"step{point}-{self.half.identity}.npz"

    def _stored(self, point: int) -> tuple[Array, Array] | None:
        """What was read there before; none where nothing was, or what is there is damaged."""
        try:
            with np.load(self._file(point)) as stored:
                found = stored["target"], stored["keep"]
        except DAMAGED_ARCHIVE:
            return None
        shapes = self.half.target.values.shape, self.half.keep.values.shape
        whole = all(
            one.shape == shape and one.dtype == np.float64 and np.isfinite(one).all() for one, shape in zip(found, shapes, strict=True)
        )
        return found if whole else None

    def _made(self, point: int) -> tuple[Array, Array]:
        """Train on to that point and read there."""
        record, state = self.place / "diverged.json", self._unfinished / STATE_FILE
        raise_again(record, point)
        made = steps_made(state)
        if state.exists() and (made is None or made > point):  # damaged, or the point is new and lies before where the run is
            self.forget()
        self.place.mkdir(parents=True, exist_ok=True)
        model = self.ground.model
        try:
            with restored(model):
                self.finetune.tune(model, self.seed, self._unfinished, until=point, quiet=True)
                target, keep = self._read(point)
        except Diverged as error:
            remember(error, record)
            self.forget()
            raise
        except (RuntimeError, MemoryError) as error:
            if not _of_memory(error):
                raise
            raise PliantError(f"memory ran out ({first_line(error)}); try --finetune '{{batch: 1, accumulate: 8}}'") from None
        self._write(point, target, keep)
        return target, keep

    def _write(self, point: int, target: Array, keep: Array) -> None:
        self.place.mkdir(parents=True, exist_ok=True)
        with atomic_path(self._file(point)) as temporary, temporary.open("wb") as stream:
            np.savez(stream, target=target, keep=keep)

    def _read(self, point: int) -> tuple[Array, Array]:
        try:
            target, keep = self.half.read(self.ground.model)
        except PliantError as error:  # the base was read without one
            raise Diverged(f"{error}, after {point} steps; lower the learning rate", point - 1, lr=self.lr) from None
        return np.asarray(target.values, np.float64), np.asarray(keep.values, np.float64)


def _of_memory(error: BaseException) -> bool:
    """Whether memory ran out, in the words of any device."""
    return isinstance(error, MemoryError) or "out of memory" in str(error).lower() or "not enough memory" in str(error).lower()


def again(trial: TuningTrial, seed: int, half: Half) -> TuningTrial:
    """The same setting with another seed, read on another half."""
    return replace(trial, seed=seed, half=half)
