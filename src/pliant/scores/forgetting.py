"""Forgetting events: how often an example that was answered right is answered wrong at its next turn, while a network trains.

Idea: a classifier is trained on the examples, and what it answers to each as it comes by, before the step that it causes, is compared with
what it answered the time before. An example that was never answered right counts as many events as it had turns, which is more than any
other can have. The mean over several networks and orders of the data ranks examples; those that are never forgotten teach least.
When to use it: pruning labelled examples where training on all of them once is affordable; finding wrong labels.
Cost: `epochs` of training for each model and order.
What goes wrong: augmented images are answered as they are augmented; with few epochs most examples have no event, and ties go by id.
Language models have no such outcome of a document, and are not scored.
Source: arXiv 1812.05159; counted on the batch, before its step, as in arXiv 2107.07075.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from pliant.data import Part
from pliant.errors import PliantError
from pliant.files import cache_folder
from pliant.measures.measure import check_loaded
from pliant.methods import Forward, Method, MethodState, Run
from pliant.models.heads import fitted
from pliant.numbers import Rate
from pliant.objectives.label import Label
from pliant.objectives.labelled_data import AnyLabelled
from pliant.scores.score import Rows, Score, Scoring
from pliant.spec import Spec, digest
from pliant.train import Recipe, train

if TYPE_CHECKING:
    from pliant.models import Model
    from pliant.objectives import Batch, Examples, Losses
    from pliant.statistics import Array


class CountForgetting(Method):
    """Count what is answered right, and what was right the time before and is not any more; alters nothing."""

    examples: int = Field(ge=1, description="How many examples there are")

    def prepare(self, run: Run, state: MethodState) -> None:
        """Nothing has been answered yet."""
        import torch

        for name in ("right", "forgotten", "learned", "turns"):
            state.tensors.setdefault(name, torch.zeros(self.examples, dtype=torch.int32))

    def loss(self, run: Run, state: MethodState, forward: Forward, batch: Batch) -> Losses:
        """The pass as it is."""
        import torch

        losses = forward(batch)
        numbers = torch.from_numpy(batch.numbers)
        right = (losses.output.logits.argmax(-1) == batch.targets).cpu().to(torch.int32)
        kept = state.tensors
        for place, now in zip(numbers.tolist(), right.tolist(), strict=True):  # one may come twice where two epochs meet
            kept["forgotten"][place] += int(kept["right"][place]) * (1 - now)
            kept["right"][place] = now
            kept["learned"][place] |= now
            kept["turns"][place] += 1
        return losses

    def finish(self, run: Run, state: MethodState) -> None:
        """Hand the counts out."""
        kept = {name: tensor.numpy() for name, tensor in state.tensors.items()}
        run.facts["events"] = np.where(kept["learned"] > 0, kept["forgotten"], kept["turns"]).astype(float).tolist()


class TrainedOn(Spec):
    """Labelled examples that a network is trained on."""

    data: AnyLabelled = Field(description="Texts or images with labels: a table, a folder of class folders, an archive, or its source")
    part: Part = Field("train", description="Which part of it: train, heldout or all")

    def examples(self, model: Model, length: int | None) -> RunExamples:
        """As the network reads them, with the head they need. Raises as the objective `label` does."""
        objective = Label(data=self.data, part=self.part)
        return RunExamples(objective, objective.examples(fitted(model, objective.needs(), 0), length), length)


@dataclass(frozen=True)
class RunExamples:
    """Examples, and the objective that reads them for each network."""

    objective: Label
    found: Any
    length: int | None

    @property
    def left_out(self) -> Any:
        """What of the source is none of them, where the examples say so."""
        return getattr(self.found, "left_out", None)

    @property
    def fingerprint(self) -> str:
        """Of texts or images, and labels."""
        return self.found.fingerprint


class Forgetting(Score):
    """How often each example is forgotten while a network trains, averaged over models and orders of the data."""

    unit = "events"
    reads = "label"
    epochs: int = Field(default=10, ge=2, description="How often every example comes by")
    lr: Rate = Field(default=1e-3, description="Peak learning rate")
    batch: int = Field(default=32, ge=1, description="Examples in a step")
    orders: int = Field(default=1, ge=1, description="Orders of the data (and draws of a fresh head) for each model")
    schedule: Literal["constant", "cosine"] = Field(default="constant", description="Of the learning rate")

    @classmethod
    def source(cls, form: Any, where: str) -> TrainedOn:
        """Of labelled examples."""
        return TrainedOn.parse(form, where)

    def scoring(self, models: Sequence[Model], examples: Examples) -> Scoring:
        """One value per example. Raises PliantError for examples without labels, and for no model; its `read` does as training does."""
        if not isinstance(examples, RunExamples):
            raise PliantError(f"forgetting scores examples with labels that it trains on, not {type(examples).__name__}")
        if not models:
            raise PliantError("forgetting needs a model to train")
        for model in models:
            check_loaded(model)
        count = len(examples.found.ids)
        return Scoring(np.array([0, count]), np.array([count]), lambda _: self._rows(models, examples), "")

    def _rows(self, models: Sequence[Model], examples: RunExamples) -> Rows:
        places = [self._place(model, examples, seed) for model in models for seed in range(self.orders)]
        each = [(model, seed) for model in models for seed in range(self.orders)]
        runs = [self._events(model, examples, seed, place) for (model, seed), place in zip(each, places, strict=True)]
        for place in places:
            shutil.rmtree(place, ignore_errors=True)
        return Rows(examples.found.ids, np.mean(runs, 0), np.ones(len(examples.found.ids), np.int64))

    def _place(self, model: Model, examples: RunExamples, seed: int) -> Path:
        """Where the state of a run is kept until all are made."""
        return cache_folder() / "forgetting" / digest(json.dumps([self.canonical(), model.weights(), examples.fingerprint, seed]))

    def _events(self, model: Model, examples: RunExamples, seed: int, folder: Path) -> Array:
        """Of one run, on a copy of the network. Killed, it goes on where it was."""
        count = len(examples.found.ids)
        steps = max(1, self.epochs * count // self.batch)
        form = {"lr": self.lr, "steps": steps, "batch": min(self.batch, count), "length": examples.length, "schedule": self.schedule}
        recipe = Recipe.parse(form, "forgetting")
        fresh = replace(model, network=copy.deepcopy(model.network))
        method = CountForgetting(examples=count)
        log = train(fresh, examples.objective, recipe, seed=seed, methods=[method], folder=folder)
        return np.array(log.facts["events"])
