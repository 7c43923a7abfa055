"""A ladder trained here: one run for every size and token budget, annealed on its own.

Idea: what a checkpoint is worth after a change depends on how long it was trained, and on how far its learning rate had fallen.
So each budget is a run of its own with its own schedule, and the final learning rate is the same at every rung. With a `constant`
schedule a shorter run is the beginning of a longer one; then all budgets are saved along one trajectory: the un-decayed arm
that shows what annealing itself does.
When to use it: tiny models, whole ladders in minutes. Checkpoints trained elsewhere are read by `FolderLadder` and `HubLadder`.
Cost: 6 x parameters x tokens operations a rung, once: finished rungs are kept in a folder by their content.
What goes wrong: budgets below about a hundred steps are mostly warm-up; sizes that share one learning rate are not comparable.
Source: independent annealed runs, arXiv 2503.19206 (section 3); the schedule as rival explanation, arXiv 2604.13627.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from pliant.data.mixture import Text
from pliant.files import cache_folder
from pliant.methods import Methods
from pliant.models.checkpoint import Checkpoint
from pliant.models.ladder import Ladder
from pliant.numbers import Count, Rate
from pliant.objectives import AnyObjective, NextToken, Objective
from pliant.train import compiling
from pliant.train.new_model import NewModel
from pliant.train.recipe import Optimisation, Recipe
from pliant.train.rung import TrainedRung


class TrainedLadder(Optimisation, Ladder):
    """Models trained here, one for every size and budget."""

    key: ClassVar[str] = "ladder"
    seeded: ClassVar[bool] = True

    model: tuple[NewModel, ...] = Field(min_length=1, description="What is trained: a preset with its tokenizer and context, or several")
    corpus: Text | None = Field(None, description="The training text, or a mixture of several; the held-out part is left for measures")
    objective: AnyObjective | None = Field(None, description="What to learn, instead of text: `label: {data: builtin:digits}`")
    tokens: tuple[Count, ...] = Field((), description="Token budgets, one run each, in whole steps; of labels, budgets in examples")
    steps: tuple[Annotated[Count, Field(gt=0)], ...] = Field((), description="Budgets in optimizer steps, instead of tokens")
    examples: tuple[Annotated[Count, Field(gt=0)], ...] = Field((), description="Budgets in examples, repeats included, instead of tokens")
    lr: Rate | None = Field(None, description="Peak learning rate; by default what suits the preset's width")
    methods: Methods = ()

    @field_validator("model", "tokens", "steps", "examples", mode="before")
    @classmethod
    def _one(cls, form: Any) -> Any:
        return form if isinstance(form, (list, tuple)) else (form,)

    @field_validator("tokens", "steps", "examples")
    @classmethod
    def _rising(cls, budgets: tuple[int, ...]) -> tuple[int, ...]:
        if 0 in budgets:
            raise ValueError("a budget of no tokens trains nothing")
        return tuple(sorted(set(budgets)))

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if (self.corpus is None) == (self.objective is None):
            raise ValueError("give what to learn as corpus or as objective, one of the two")
        if sum(map(bool, (self.tokens, self.steps, self.examples))) != 1:
            raise ValueError("give at least one budget, in tokens, steps or examples, one of the three")
        return self

    @model_serializer(mode="wrap")
    def _plain(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what is not given, so that ladders from before there was a choice keep their form."""
        absent = {name for name in ("corpus", "objective", "tokens", "steps", "examples") if not getattr(self, name)}
        return {name: value for name, value in super()._plain(handler).items() if name not in absent}

    @property
    def learned(self) -> Objective:
        """What every rung is trained on."""
        if self.objective is not None:
            return self.objective
        assert self.corpus is not None  # see `_one_of_each`
        return NextToken(data=self.corpus)

    @property
    def budgets(self) -> list[dict[str, Any]]:
        """Of every rung, as a recipe has it."""
        rows = self.batch * self.accumulate
        counted: list[dict[str, Any]] = [{"steps": steps} for steps in self.steps] + [
            {"steps": max(1, round(count / rows))} for count in self.examples
        ]
        return counted or [{"tokens": tokens} for tokens in self.tokens]

    def remarks(self, checkpoints: Sequence[Checkpoint]) -> list[str]:
        """Why nothing is compiled, where that is asked for."""
        return compiling.remarks(self.compile, max((checkpoint.steps or 0 for checkpoint in checkpoints), default=None), self.methods)

    def along(self, checkpoints: Sequence[Checkpoint]) -> str:
        """Tokens, examples or steps, and at a single budget parameters: rounded to whole steps, it is not quite the same at every size."""
        sizes = {checkpoint.params for checkpoint in checkpoints}
        if len(self.budgets) == 1 and len(sizes) > 1:
            return "params"
        return self.counted if self.tokens or (self.counted == "examples" and self.examples) else "steps"

    @property
    def counted(self) -> str:
        """Tokens; of labels examples, whatever their budgets are called."""
        return "examples" if self.learned.row_tokens == 1 else "tokens"

    def rungs(self, seed: int = 0, folder: Path | None = None) -> list[TrainedRung]:
        """One rung for every budget and size, in the order of their budgets, then of their sizes.

        Args:
            seed: Seed of initial weights, data order and methods.
            folder: Where trained checkpoints and unfinished runs are kept; pliant's cache where not given.
        """
        place = folder if folder is not None else cache_folder() / "trained"
        rungs = [rung for model in self.model for rung in self._rungs_of(model, seed, place)]
        return sorted(rungs, key=lambda rung: (rung.recipe.tokens or rung.steps, rung.counts[0]))

    def _rungs_of(self, model: NewModel, seed: int, folder: Path) -> list[TrainedRung]:
        """The rungs of one size; along a trajectory each knows the one before it."""
        shared: dict[str, Any] = {name: getattr(self, name) for name in Optimisation.model_fields}
        shared["lr"] = self.lr or model.learning_rate
        # a method or a mixture may look at the length of its run; only one without any of those is the beginning of a longer one
        along = self.schedule.open_ended and not self.methods and not self.learned.of_length
        if along:
            longest = Recipe(**shared, **self.budgets[-1])
            shared["warmup"] = longest.warmup_steps(longest.step_count(model.context, self.learned.row_tokens))
        rungs: list[TrainedRung] = []
        for budget in self.budgets:
            previous = rungs[-1] if along and rungs else None
            rungs.append(TrainedRung(model, self.learned, Recipe(**shared, **budget), self.methods, seed, folder, previous))
        return rungs
