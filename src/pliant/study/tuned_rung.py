"""A fine-tuning run and its rungs: trained when one is first opened, then kept under the name of their content."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pliant.axes import FINE_TUNING
from pliant.changes import Finetune
from pliant.changes.restore import restored
from pliant.changes.told import corpus_name
from pliant.data.once import built_once
from pliant.files import disk_errors, write_atomic
from pliant.models.checkpoint import Checkpoint
from pliant.spec import content_form, digest
from pliant.study.cost import TYPICAL_PARAMS, read_at_once
from pliant.train import Diverged
from pliant.train.divergence import raise_again, remember
from pliant.train.state import STATE_FILE, steps_made

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pliant.models import Model
    from pliant.models.ladder import Rung

LOG_FILE = "training.json"
CARRIED = ("params", "params_non_embedding", "training_bits")
"""Facts of the base that are facts of what is made of it."""
MEANING = 1
"""Raised when the same description comes to mean other weights."""


@dataclass(frozen=True)
class TuningRun:
    """One fine-tuning of one base with one seed; kept in `folder`, under `identity`."""

    base: Rung
    finetune: Finetune
    seed: int
    folder: Path
    drawn: bool
    """Whether the base is of the same seed, and another one of another."""

    @property
    def extended(self) -> bool:
        """Whether a longer run begins as this one does: methods may look at the length of theirs."""
        told = self.finetune
        return told.schedule.open_ended and told.warmup is not None and not told.methods

    @cached_property
    def described(self) -> str:
        """Everything the run depends on but for the seed. Raises PliantError for a base or data that cannot be read."""
        named = {"data", "objective", "part", *(["steps"] if self.extended else [])}
        how = {name: value for name, value in self.finetune.canonical().items() if name not in named}
        how["length"] = self.finetune.longest
        return json.dumps([MEANING, self.base.identity, how, content_form(self.finetune.learned)], sort_keys=True)

    @cached_property
    def identity(self) -> str:
        """Names the run."""
        return digest(f"{self.described} {self.seed}")

    @property
    def place(self) -> Path:
        """Its folder: that of each rung, and while it is unfinished its state."""
        return self.folder / f"tuned-{self.identity}"

    @property
    def name(self) -> str:
        """`stories260K-hf tuned on gsm8k.jsonl, rank 8`: what its rungs are called together."""
        base = self.base.checkpoint
        called = " ".join(filter(None, (base.name.rstrip("/").rsplit("/", 1)[-1], base.revision)))
        learned = " and ".join(map(corpus_name, self.finetune.trains_on))
        told = self.finetune.model_copy(update={"steps": None}).details()
        return ", ".join([f"{called} tuned on {learned}", f"lr {self.finetune.lr:g}", *told]).replace("@", " ")

    def checkpoint(self, step: int) -> Checkpoint:
        """The facts of one rung."""
        base, learned = self.base.checkpoint, self.finetune
        recipe, length = learned.recipe_of(learned.steps or 1), learned.steps or 1
        known = base.model_dump(include=set(CARRIED))
        return Checkpoint(
            **known,
            name=self.name,
            revision=f"step{step}" + (f"-seed{self.seed}" if step or self.drawn else ""),
            steps=step,
            peak_lr=recipe.peak_rate(length),
            final_lr=recipe.rate(step, length),
            schedule=recipe.schedule.kind,
            phase=FINE_TUNING,
            seed=self.seed,
        )

    def at(self, step: int) -> Path:
        """The folder of the model after so many steps."""
        return self.place / f"step{step}"

    def train(self, points: Sequence[int], quiet: bool = True) -> None:
        """Keep what the model is at each of these points. A run that was killed goes on; one in progress elsewhere is waited for.

        Raises Diverged, also where the run did before, and PliantError when it cannot start or its folder not be written.
        """
        from filelock import FileLock

        missing = [step for step in points if not self.at(step).exists()]
        if not missing:
            return
        with self.base.open() as model, disk_errors(self.place):
            self.place.mkdir(parents=True, exist_ok=True)
            for step in missing:
                with FileLock(self.place / "lock"):
                    built_once(self.at(step), partial(self._train, model, step, quiet))

    def _train(self, model: Model, until: int, quiet: bool, target: Path) -> None:
        from pliant.models.save import save

        record, unfinished = self.place / "diverged.json", self.place / "unfinished"
        raise_again(record, until)
        if (steps_made(unfinished / STATE_FILE) or 0) > until:  # the point is new, and lies before where the run is
            shutil.rmtree(unfinished)
        with restored(model):
            try:
                log = self.finetune.tune(model, self.seed, unfinished, until=until, quiet=quiet)
            except Diverged as error:
                remember(error, record)
                raise
            known = model.checkpoint.model_dump(include=set(CARRIED))
            save(replace(model, checkpoint=self.checkpoint(until).model_copy(update=known | log.facts)), target)
            write_atomic(target / LOG_FILE, log.model_dump_json(indent=1))
        if until == self.finetune.steps and not self.extended:
            shutil.rmtree(unfinished, ignore_errors=True)


@dataclass(frozen=True)
class TunedRung:
    """One point of a run, and those before it that are kept on the way."""

    run: TuningRun
    step: int
    earlier: tuple[int, ...] = ()
    damage: ClassVar[None] = None

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """What is known before it is trained."""
        return self.run.checkpoint(self.step)

    @property
    def cost(self) -> float:
        """Floating-point operations from the point before; 0 once it is trained."""
        if not self.step:
            return self.run.base.cost
        if self.run.at(self.step).exists():
            return 0.0
        tokens = self.run.finetune.training_tokens(read_at_once(self.outline())) / (self.run.finetune.steps or 1)
        return self.run.base.cost + 6.0 * (self.checkpoint.params or TYPICAL_PARAMS) * tokens * (self.step - max(self.earlier, default=0))

    @cached_property
    def identity(self) -> str:
        """Names run and point; the beginning is the same for every seed, unless the base is not."""
        return digest(f"{self.run.identity if self.step or self.run.drawn else self.run.described} step {self.step}")

    def outline(self) -> PreTrainedModel | None:
        """That of the base."""
        return self.run.base.outline()

    @contextlib.contextmanager
    def open(self) -> Generator[Model]:
        """The model after so many steps, trained now unless it was before. Raises what `train` does."""
        from pliant.models.load import load

        if not self.step:
            with self.run.base.open() as model:
                known = model.checkpoint.model_dump(include=set(CARRIED))
                yield replace(model, checkpoint=self.checkpoint.model_copy(update=known))
            return
        model = load(self.train())
        yield replace(
            model, checkpoint=model.checkpoint.model_copy(update={"name": self.checkpoint.name, "revision": self.checkpoint.revision})
        )

    def train(self, quiet: bool = True) -> Path:
        """The folder of the model, trained now unless it was before."""
        self.run.train((*self.earlier, self.step), quiet)
        return self.run.at(self.step)
