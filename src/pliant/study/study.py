"""A study: which checkpoints, what is done to them, what is read off them, with which seeds, and the questions to answer.

Idea: one YAML file says everything, so that it can be run again, resumed, compared and shown. Every combination of checkpoint,
change and seed is a cell; the unchanged checkpoint is always among them, since what a change did is a difference against it.

    checkpoints:                                    # one of:
      ladder: {model: {preset: llama-16x2}, corpus: builtin:prose, tokens: [1M, 4M, 16M], lr: 1e-2}    # trained here
      hub: EleutherAI/pythia-70m                    # published revisions
      revisions: step*
    # checkpoints: [./run/checkpoint-*]             # folders
    # checkpoints: {tuned: {base: ./model, finetune: {data: task.jsonl, lr: [1e-4, 1e-3]}, steps: [0, 50, 100, 200]}}    # one run, saved
    # a list where a ladder has one value stands for several ladders, beside each other
    changes:
      - quantize: {bits: [3, 4]}                    # a list in a field is a sweep
      - [finetune: {data: builtin:code, steps: 30, lr: 1e-3}, quantize: {bits: 4}]    # a list is a chain, in order
    measures:
      generic: {loss: {data: builtin:prose}}
    seeds: [0, 1, 2]
    questions: [checkpoint]
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self, cast

from pydantic import Field, SerializeAsAny, field_validator, model_validator

from pliant.changes import Change, NoChange, parse_changes
from pliant.errors import PliantError
from pliant.measures import MEASURES, Measure
from pliant.models import Ladder
from pliant.spec import Spec, nearest
from pliant.spec.yaml import read_yaml
from pliant.study.ladders import parse_ladder
from pliant.study.question import QUESTIONS, Question


class Study(Spec):
    """Checkpoints x changes x measures x seeds, and the questions to answer."""

    name: str = Field("study", min_length=1, description="What the ledger calls it; by default the file's name")
    checkpoints: SerializeAsAny[Ladder] = Field(description="A ladder trained here, folders, or revisions of a hub repository")
    changes: tuple[SerializeAsAny[Change], ...] = Field((), description="What is done to each checkpoint; `none` is always included")
    measures: dict[str, SerializeAsAny[Measure]] = Field(min_length=1, description="What is read off each changed checkpoint, by a name")
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**63)], ...] = Field(
        (0,), min_length=1, description="Seeds of what is trained here and of what is random in a change"
    )
    questions: tuple[SerializeAsAny[Question], ...] = Field((), description="What to answer from the results, at the end of a run")

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """From a YAML file, whose name is the study's where it gives none. Raises PliantError as `Spec.read` does."""
        form = read_yaml(path)
        named: Any = {"name": Path(path).stem, **form} if isinstance(form, Mapping) else form
        return cls.parse(named, str(path))

    @field_validator("name")
    @classmethod
    def _one_folder(cls, name: str) -> str:
        if name in (".", "..") or any(mark in name for mark in "/\\\0"):
            raise ValueError("the results lie in a folder of this name by default: leave out slashes")
        return name

    @field_validator("checkpoints", mode="before")
    @classmethod
    def _ladder(cls, form: Any) -> Ladder:
        return form if isinstance(form, Ladder) else parse_ladder(form)

    @field_validator("changes", mode="before")
    @classmethod
    def _with_none(cls, form: Any) -> tuple[Change, ...]:
        changes = parse_changes(list(cast("list[Any]", form)) if isinstance(form, tuple) else form) if form else []
        return (NoChange(), *(change for change in changes if not change.unchanged))

    @field_validator("measures", mode="before")
    @classmethod
    def _measures(cls, form: Any) -> dict[str, Measure]:
        if not isinstance(form, Mapping):
            raise PliantError(f"measures: give names with measures, such as `generic: {{loss: {{data: builtin:prose}}}}`, not {form!r}")
        if "" in form:
            raise PliantError("measures: a name is empty; records are told apart by it")
        return {name: MEASURES.parse(measure, f"measures.{name}") for name, measure in cast("Mapping[str, Any]", form).items()}

    @field_validator("seeds", mode="before")
    @classmethod
    def _one_seed(cls, form: Any) -> Any:
        if any(isinstance(seed, bool) for seed in cast("list[Any]", form if isinstance(form, (list, tuple)) else [form])):
            raise ValueError("a seed is a whole number of at least 0")
        return (form,) if isinstance(form, int) else form

    @field_validator("seeds")
    @classmethod
    def _different(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(dict.fromkeys(seeds))

    @field_validator("questions", mode="before")
    @classmethod
    def _questions(cls, form: Any) -> Any:
        if not isinstance(form, (list, tuple)):
            return form
        return tuple(question for item in cast("list[Any]", form) for question in QUESTIONS.expand(item, "questions"))

    @model_validator(mode="after")
    def _about_measures(self) -> Self:
        for question in self.questions:
            for name in filter(None, (getattr(question, field, None) for field in question.named)):
                if name not in self.measures:
                    raise PliantError(f"questions: {question.kind}: no measure is called {name!r}; {nearest(name, self.measures)}")
        return self

    def canonical(self) -> dict[str, Any]:
        """As a study file would say it, everything spelled out."""
        return {
            "kind": self.kind,
            "name": self.name,
            "checkpoints": self.checkpoints.form(),
            "changes": [change.canonical() for change in self.changes],
            "measures": {name: measure.canonical() for name, measure in self.measures.items()},
            "seeds": list(self.seeds),
            "questions": [question.form() for question in self.questions],
        }

    @classmethod
    def model_json_schema(cls, *arguments: Any, **settings: Any) -> dict[str, Any]:
        """The JSON schema of a study file, with every change and measure there is."""
        from pliant.study.schema import study_schema

        return study_schema(super().model_json_schema(*arguments, **settings))
