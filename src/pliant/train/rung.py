"""One rung of a ladder trained here: trained when it is first opened, then kept under the name of its content."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Generator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pliant.data.once import built_once
from pliant.errors import PliantError
from pliant.files import write_atomic
from pliant.methods import Method
from pliant.models.checkpoint import Checkpoint, read_facts
from pliant.models.operations import tokens_of_image
from pliant.models.tasks import Needs
from pliant.numbers import format_count
from pliant.objectives import NextToken, Objective
from pliant.progress import remark
from pliant.spec import content_form, digest
from pliant.train.divergence import raise_again, remember
from pliant.train.log import Diverged
from pliant.train.loop import train
from pliant.train.new_model import NewModel
from pliant.train.recipe import Recipe
from pliant.train.state import STATE_FILE, is_whole

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pliant.models import Model
    from pliant.objectives.objective import TrainingData

LOG_FILE = "training.json"
MEANING = 1
"""Raised when the same description comes to mean other weights, so that older checkpoints are not taken for it."""


@dataclass(frozen=True)
class TrainedRung:
    """One size, one budget, one seed. Its checkpoint is kept in `folder`, under `identity`."""

    model: NewModel
    objective: Objective
    recipe: Recipe
    methods: tuple[Method, ...]
    seed: int
    folder: Path
    damage: ClassVar[None] = None
    previous: TrainedRung | None = None
    """The rung whose end is the beginning of this one, along a trajectory."""

    @property
    def steps(self) -> int:
        """Optimizer steps."""
        return self.recipe.step_count(self.model.context, self.objective.row_tokens)

    @property
    def tokens(self) -> int:
        """Training tokens: the budget rounded to whole steps."""
        return self.steps * self.recipe.tokens_a_step(self.model.context, self.objective.row_tokens)

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """What is known before it is trained; what methods make true is known afterwards."""
        params, inner = self.counts
        return Checkpoint(
            name="-".join([self.model.preset, *self._variant()]),
            revision=f"{format_count(self.recipe.tokens) if self.recipe.tokens else f'step{self.steps}'}-seed{self.seed}",
            params=params,
            params_non_embedding=inner,
            tokens=self.tokens,
            unique_tokens=min(self.tokens, len(self._data)),
            steps=self.steps,
            examples=self.tokens if self.objective.row_tokens == 1 else None,
            peak_lr=self.recipe.peak_rate(self.steps),
            final_lr=self.recipe.rate(self.steps, self.steps),
            schedule=self.recipe.schedule.kind,
            seed=self.seed,
        )

    @cached_property
    def needs(self) -> Needs | None:
        """What the network must be. Raises PliantError for data that cannot be read."""
        return self.objective.needs()

    @property
    def counts(self) -> tuple[int, int]:
        """Parameters: in total, and without embeddings and head."""
        return self.model.counts(self.needs)

    @property
    def cost(self) -> float:
        """Floating-point operations that opening it takes: 6 x parameters x tokens that are read, 0 once it is trained."""
        if (self.folder / self.identity).exists():
            return 0.0
        steps = self.steps - (self.previous.steps if self.previous is not None else 0)
        rows = steps * self.recipe.batch * self.recipe.accumulate
        context = tokens_of_image(self.outline()) or self.model.context
        return 6.0 * self.counts[0] * rows * self.objective.tokens_read(self.recipe.length, context)

    @cached_property
    def identity(self) -> str:
        """Names the run: model, recipe, methods, seed, the objective and what its data holds.

        Raises PliantError when the data or the tokenizer cannot be read.
        """
        recipe = self.recipe.model_dump(mode="json", exclude={"tokens"}) | {"steps": self.steps}
        model = self.model.canonical() | {"tokenizer": self.model.words().fingerprint}
        methods = [method.canonical() for method in self.methods]
        parts = [MEANING, model, recipe, methods, self.seed, self._data.fingerprint, *self._objective_told()]
        return digest(json.dumps(parts, sort_keys=True))

    def outline(self) -> PreTrainedModel:
        """The network without numbers."""
        return self.model.outline(self.needs)

    @contextlib.contextmanager
    def open(self) -> Generator[Model]:
        """The trained model, on PyTorch's default device; trained now unless it was before. Raises what `train` does."""
        from pliant.models.load import load

        folder = self.train()
        try:
            read_facts(folder)  # which `load` can do without, but not the records of what was trained here
        except PliantError as error:
            raise PliantError(f"{error}; delete its folder, and it is trained again") from None
        model = load(folder)
        yield replace(
            model, checkpoint=model.checkpoint.model_copy(update={"name": self.checkpoint.name, "revision": self.checkpoint.revision})
        )

    def train(self, quiet: bool = True) -> Path:
        """The folder of the trained model. A run that was killed goes on; one in progress elsewhere is waited for.

        Raises Diverged, also when this run diverged before, and PliantError when it cannot start or its folder not be written.
        """
        if self.previous is not None:
            self.previous.train(quiet)
        folder = built_once(self.folder / self.identity, lambda target: self._train(target, quiet))
        shutil.rmtree(self._unfinished, ignore_errors=True)
        return folder

    def _train(self, target: Path, quiet: bool) -> None:
        """Train and write the model, its log and, along a trajectory, the state to go on from."""
        import torch

        from pliant.models.save import save

        record = self.folder / f"{self.identity}.diverged.json"
        raise_again(record)
        self._start_from_previous()
        model = self.model.build(self.seed, self.needs)
        model.network.to(torch.get_default_device())  # pyright: ignore[reportArgumentType]
        model.checkpoint = self.checkpoint
        try:
            log = train(model, self.objective, self.recipe, seed=self.seed, methods=self.methods, folder=self._unfinished, quiet=quiet)
        except Diverged as error:
            remember(error, record)
            shutil.rmtree(self._unfinished, ignore_errors=True)
            raise
        model.checkpoint = self.checkpoint.model_copy(update=log.checkpoint_facts())
        save(model, target)
        write_atomic(target / LOG_FILE, log.model_dump_json(indent=1))
        if self._along:
            shutil.copyfile(self._unfinished / STATE_FILE, target / STATE_FILE)

    def _start_from_previous(self) -> None:
        """Put the state at the end of the previous rung where the loop looks for an unfinished run."""
        if self.previous is not None and not (self._unfinished / STATE_FILE).exists():
            stored = self.previous.folder / self.previous.identity / STATE_FILE
            if not is_whole(stored):
                remark(f"{stored}: is missing or damaged, so {self.checkpoint.address} is trained from its first step")
                return
            write_atomic(self._unfinished / STATE_FILE, stored.read_bytes())

    @property
    def _unfinished(self) -> Path:
        return self.folder / f"{self.identity}.unfinished"

    @cached_property
    def _data(self) -> TrainingData:
        return self.objective.data_for(self.model.words())

    def _objective_told(self) -> list[Any]:
        """What its data does not say of the objective: nothing of the next token, which was the only one when rungs got their names."""
        plain = isinstance(self.objective, NextToken) and self.objective.part == "train"
        return [] if plain else [content_form(self.objective)]

    @property
    def _along(self) -> bool:
        """Whether this rung lies on a trajectory that a longer one goes on."""
        return self.recipe.schedule.open_ended and not self.methods and not self.objective.of_length

    def _variant(self) -> list[str]:
        """What tells the arms of an experiment apart in tables; the identity tells everything."""
        defaults = type(self.recipe).model_fields
        chosen = [getattr(self.recipe, name) for name in ("schedule", "optimizer") if getattr(self.recipe, name) != defaults[name].default]
        return [part.label() for part in (*chosen, *self.methods)]
