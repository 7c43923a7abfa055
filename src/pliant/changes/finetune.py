"""Full fine-tuning: train all weights a little further on other text.

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

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from pliant.changes.change import Change
from pliant.changes.told import corpus_name
from pliant.data import Corpus, Part
from pliant.methods import Methods
from pliant.numbers import Rate
from pliant.objectives import NextToken, Objective
from pliant.spec import Content
from pliant.train.recipe import Optimisation, Recipe
from pliant.train.schedules import AnySchedule, Constant

if TYPE_CHECKING:
    from pliant.models import Model

PROBE_STEPS = 30

CHARACTERS_A_TOKEN = 4
"""Where only the tokenizer knows: for estimates of cost."""

DRAW_STRIDE = 2**32
"""Between the training seeds of two draws, so that no draw of one seed is a draw of another."""


class Finetune(Optimisation, Change):
    """Train all weights on other text; a probe of 30 steps unless told otherwise."""

    strength_field = rate_field = "lr"
    untold = frozenset({"draws", "data"})
    data: Corpus = Field(description="The text: a corpus, or its source")
    part: Part = Field("train", description="Which part of it: train, heldout or all")
    lr: Rate = Field(description="Peak learning rate")
    steps: int | None = Field(None, ge=1, description=f"Optimizer steps; {PROBE_STEPS} unless `epochs` is given")
    epochs: Rate | None = Field(None, description="Budget as passes over the data, instead of steps")
    batch: int = Field(8, ge=1, description="Sequences in one forward pass")
    length: int | None = Field(64, ge=1, description="Tokens predicted in a sequence; null for the model's context")
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
        if form.get("steps") is not None and form.get("epochs") is not None:
            raise ValueError("give the budget as steps or as epochs, not as both")
        told = form.get("steps") is not None or form.get("epochs") is not None
        return form if told else {**form, "steps": PROBE_STEPS}

    @property
    def trains_on(self) -> tuple[Content, ...]:
        """Its data."""
        return (self.data,)

    def training_tokens(self, context: int) -> float:
        """Steps x tokens a step; of epochs, about as many tokens as the text has, at `CHARACTERS_A_TOKEN`."""
        if self.steps:
            return self.steps * self.batch * self.accumulate * (self.length or context)
        return (self.epochs or 0.0) * self.data.characters(self.part) / CHARACTERS_A_TOKEN

    def title(self) -> str:
        """`Fine-tuning on code, 30 steps`."""
        return ", ".join([f"Fine-tuning on {corpus_name(self.data)}", *self.details()])

    @property
    def stochastic(self) -> bool:
        """Yes: the seed decides the order of the data."""
        return True

    def apply(self, model: Model, seed: int, draw: int, undo: ExitStack) -> None:
        """Train in place. Raises PliantError when the loss diverges, and for text that cannot be read or is too short."""
        from pliant.train import train

        train(model, self.objective, self.recipe(model), seed=seed + DRAW_STRIDE * draw, methods=self.methods)

    @property
    def objective(self) -> Objective:
        """What it trains on."""
        return NextToken(data=self.data, part=self.part)

    def recipe(self, model: Model) -> Recipe:
        """The training recipe for this model: the budget in steps, the rest as described."""
        shared = {name: getattr(self, name) for name in Optimisation.model_fields}
        return Recipe(**shared, lr=self.lr, steps=self.steps or self._steps_of_epochs(model))

    def _steps_of_epochs(self, model: Model) -> int:
        examples = self.objective.examples(model, self.length)
        tokens_a_step = self.batch * self.accumulate * examples.row_tokens
        return max(1, round((self.epochs or 0) * examples.unique / tokens_a_step))
