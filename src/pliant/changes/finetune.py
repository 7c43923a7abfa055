"""Fine-tuning: train a little further, on other text or on answers; all weights, unless a method says otherwise.

Idea: the change people make most. As a probe it is short, with the same recipe and the same batches at every checkpoint; for a
real data set give `epochs` and a schedule.
When to use it: to see how much of the old text's loss is lost for the new text's (measure both), at several learning rates: at a
tuned rate for what a practitioner would see, at fixed rates for how sensitive the checkpoint is.
Cost: 6 x parameters x tokens operations; gradients and two moments beside the weights and their copy, five times the weights.
What goes wrong: the learning rate decides which checkpoint looks best, so sweep it. Long runs with a decaying rate partly learn
back what they lost and hide the effect that 30 steps at a constant rate show.
Source: arXiv 2503.19206 (section 3); the default recipe is our own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from pliant.changes.change import Change
from pliant.changes.told import corpus_name
from pliant.data import Corpus, Part
from pliant.data.examined import Examined
from pliant.data.mixture import Mixture, Text
from pliant.methods import Methods
from pliant.models.heads import fit
from pliant.models.stored_model import StoredModel
from pliant.numbers import Rate
from pliant.objectives import AnyObjective, NextToken, Objective, found_in
from pliant.spec import Content
from pliant.train import compiling
from pliant.train.recipe import Optimisation, Recipe
from pliant.train.schedules import AnySchedule, Constant

if TYPE_CHECKING:
    from pathlib import Path

    from pliant.models import Model
    from pliant.train import TrainingLog

PROBE_STEPS = 30

CHARACTERS_A_TOKEN = 4
"""Where only the tokenizer knows: for estimates of cost."""

DRAW_STRIDE = 2**32
"""Between the training seeds of two draws, so that no draw of one seed is a draw of another."""


class Finetune(Optimisation, Change):
    """Train on other text, answers, labels or pairs; a probe of 30 steps unless told otherwise."""

    strength_field = rate_field = "lr"
    untold = frozenset({"draws", "data", "objective"})
    data: Text | None = Field(
        None,
        description="What to learn: a corpus, every token of it; a table, what its columns call for, such as answers",
    )
    objective: AnyObjective | None = Field(None, description="What to learn, instead of `data`: `answers: {data: gsm8k.jsonl}`")
    part: Part = Field("train", description="Which part of it: train, heldout or all")
    lr: Rate = Field(description="Peak learning rate")
    steps: int | None = Field(None, ge=1, description=f"Optimizer steps; {PROBE_STEPS} unless `epochs` is given")
    epochs: Rate | None = Field(None, description="Budget as passes over the data, instead of steps")
    batch: int = Field(8, ge=1, description="Sequences in one forward pass")
    length: int | None = Field(
        64, ge=1, description="Most tokens predicted in a sequence; null for the model's context, which answers have by default"
    )
    schedule: AnySchedule = Field(
        Constant(), description="constant: the rate stays; cosine: falls from the first step on; wsd: over the last `decay` of the run"
    )
    warmup: int | None = Field(0, ge=0, description="Steps over which the learning rate rises; null for a tenth of all, at most 100")
    weight_decay: float = Field(0.0, ge=0, description="Decoupled weight decay of matrices")
    methods: Methods = ()
    draws: int = Field(1, ge=1, description="Data orders to average over")  # pyright: ignore[reportIncompatibleVariableOverride]

    @model_validator(mode="before")
    @classmethod
    def _budget(cls, form: Any) -> Any:
        if not isinstance(form, dict):
            return form
        data: Any = form.get("data")
        if isinstance(data, dict) and (given := sorted(set(data) & set(Examined.model_fields) - set(Corpus.model_fields))):
            raise ValueError(f"data: {given[0]} is a field of tables; give it with the objective: `objective: {{answers: {{data: ...}}}}`")
        if form.get("steps") is not None and form.get("epochs") is not None:
            raise ValueError("give the budget as steps or as epochs, not as both")
        told = form.get("steps") is not None or form.get("epochs") is not None
        return form if told else {**form, "steps": PROBE_STEPS}

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        if (self.data is None) == (self.objective is None):
            raise ValueError("give what to learn as data or as objective, one of the two")
        return self

    @model_serializer(mode="wrap")
    def _plain(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what is not given, so that records from before there were objectives keep their keys."""
        absent = {name for name in ("data", "objective") if getattr(self, name) is None}
        return {name: value for name, value in super()._plain(handler).items() if name not in absent}

    @property
    def learned(self) -> Objective:
        """What it trains on: the objective, or what its data was found to be. Raises PliantError for data that cannot be read."""
        if self.objective is not None:
            return self.objective
        assert self.data is not None  # see `_one_thing`
        return NextToken(data=self.data, part=self.part) if isinstance(self.data, Mixture) else found_in(self.data, self.part)

    @property
    def trains_on(self) -> tuple[Content, ...]:
        """Its data; a reference or teacher is none."""
        if self.data is not None:
            return (self.data,)
        return tuple(content for content in self.learned.content() if not isinstance(content, StoredModel))

    def content(self) -> Iterator[Content]:
        """What it was found to learn, and what its methods name."""
        yield from self.learned.content()
        for method in self.methods:
            yield from method.content()

    def meaning(self) -> dict[str, Any]:
        """With the objective that its data was found to call for, where that is not the next token, and what then cuts its rows."""
        found = self.learned
        if isinstance(found, NextToken):
            return self.canonical()
        cut = {"longest": self.length} if self.longest == type(self).model_fields["length"].default else {}
        return self.canonical() | cut | ({} if self.objective else {"objective": found.kind})

    def notes(self) -> list[str]:
        """What a table was taken for, and why nothing is compiled where that is asked for."""
        found = self.learned
        told = [f"{corpus_name(self.data)}: {found.told()}"] if self.data is not None and found.told() else []
        return told + compiling.remarks(self.compile, self.steps, self.methods)

    def training_tokens(self, context: float) -> float:
        """Rows x tokens a row; of epochs, about as many tokens as the text has, at `CHARACTERS_A_TOKEN`. An image counts as `context`."""
        if self.steps:
            return self.steps * self.batch * self.accumulate * self.learned.tokens_read(self.longest, context)
        if pictures := self.learned.pictures():
            return (self.epochs or 0.0) * pictures * context
        return (self.epochs or 0.0) * sum(content.characters(self.part) for content in self.trains_on) / CHARACTERS_A_TOKEN

    def title(self) -> str:
        """`Fine-tuning on code, 30 steps`."""
        names = ", ".join(map(corpus_name, self.trains_on))
        kind = [] if self.objective is None else [f"objective {self.objective.kind}"]
        return ", ".join([f"Fine-tuning on {names}", *kind, *self.details()])

    @property
    def stochastic(self) -> bool:
        """Yes: the seed decides the order of the data."""
        return True

    def apply(self, model: Model, seed: int, draw: int, undo: ExitStack) -> None:
        """Train in place, with a fresh head where the objective needs another than there is.

        Raises PliantError when the loss diverges, and for data that cannot be read, is too little, or does not fit the model's head.
        """
        self.tune(model, seed + DRAW_STRIDE * draw)

    def tune(self, model: Model, seed: int, folder: Path | None = None, *, until: int | None = None, quiet: bool = False) -> TrainingLog:
        """Train `model` itself; `folder` keeps the unfinished run, and `until` ends it early. Raises what `pliant.train.train` does."""
        from pliant.train import train

        fit(model, self.learned.needs(), seed)
        return train(model, self.learned, self.recipe(model), seed=seed, methods=self.methods, folder=folder, until=until, quiet=quiet)

    def recipe(self, model: Model) -> Recipe:
        """The training recipe for this model: the budget in steps, the rest as described."""
        return self.recipe_of(self.steps or self._steps_of_epochs(model))

    def recipe_of(self, steps: int) -> Recipe:
        """The training recipe of a run of so many steps."""
        shared: dict[str, Any] = {name: getattr(self, name) for name in Optimisation.model_fields}
        shared["length"] = self.longest
        return Recipe(**shared, lr=self.lr, steps=steps)

    @property
    def longest(self) -> int | None:
        """Most tokens predicted in a sequence, None for the model's context: text is cut short by default, answers are not."""
        return self.length if "length" in self.model_fields_set or isinstance(self.learned, NextToken) else None

    def _steps_of_epochs(self, model: Model) -> int:
        examples = self.learned.counted(model, self.longest)
        tokens_a_step = self.batch * self.accumulate * examples.row_tokens
        return max(1, round((self.epochs or 0) * examples.unique / tokens_a_step))
