"""A fine-tuning run saved along its way, from any base: what a model has become after so many steps.

Idea: one run, whose states at the steps that are asked for are the checkpoints; the unchanged base is the one at step 0. A schedule
that falls is that of the whole run, so a point on the way is not what a shorter run of its own would have ended as; with a constant
one it is.
When to use it: to see where, along fine-tuning, what the base knew begins to go, or following the context turns into memory.
Cost: one run for each seed, 6 x parameters x tokens operations; every rung is a whole model on disk.
What goes wrong: one seed says nothing of the spread between runs; points of one run hang together.
Source: a ladder over fine-tuning steps as in arXiv 2410.10796; learning against forgetting along a run, arXiv 2405.09673.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, cast

from pydantic import Field, SerializeAsAny, field_serializer, field_validator, model_validator

from pliant.changes import CHANGES, Finetune
from pliant.errors import PliantError
from pliant.files import cache_folder, expanded
from pliant.models import Ladder
from pliant.models.checkpoint import Checkpoint
from pliant.spec.spec import sweep
from pliant.study.ladders import LADDERS, parse_ladder
from pliant.study.tuned_rung import TunedRung, TuningRun

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
NO_PART = ("epochs", "draws")
"""Fields of fine-tuning that a ladder along its steps has no use for."""


class TunedLadder(Ladder):
    """A fine-tuning run, saved along its way."""

    base: SerializeAsAny[Ladder] = Field(description="What is fine-tuned: a folder, a hub's NAME or NAME@REVISION, or a ladder of one rung")
    finetune: Finetune = Field(description="How, as in the change of that name; `steps` only where the run is longer than the last point")
    steps: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1, description="The points at which it is saved; 0 is the base")
    key: ClassVar[str] = "tuned"
    seeded: ClassVar[bool] = True

    @classmethod
    def forms(cls, fields: Mapping[str, Any]) -> Iterator[Any]:
        """Also what lists inside `finetune` stand for: every learning rate, method, data."""
        for form in super().forms(fields):
            inner = form.get("finetune")
            for finetune in sweep(inner, Finetune):
                yield {**form, "finetune": finetune} if "finetune" in form else form

    @model_validator(mode="before")
    @classmethod
    def _whole_run(cls, form: Any) -> Any:
        """Without a length of its own, the run ends at its last point."""
        if not isinstance(form, Mapping) or not isinstance(form.get("finetune"), Mapping):
            return form
        points, finetune = form.get("steps"), cast("Mapping[str, Any]", form["finetune"])
        if given := next((name for name in NO_PART if name in finetune and finetune[name] not in (None, 1)), None):
            raise ValueError(f"finetune: {given} has no place along a run; its points are given as `steps` beside it")
        counts = [points] if isinstance(points, int) else points
        if finetune.get("steps") is None and isinstance(counts, (list, tuple)) and all(isinstance(n, int) for n in counts):
            finetune = {**finetune, "steps": max(counts, default=0) or None}
        return {**form, "finetune": finetune}

    @field_validator("base", mode="before")
    @classmethod
    def _any_base(cls, form: Any) -> Any:
        if isinstance(form, Ladder):
            return form
        hub = isinstance(form, str) and HUB_NAME.fullmatch(form) and not expanded(form).exists()
        return parse_ladder(f"{form}@main" if hub else form, "base")

    @field_validator("steps", mode="before")
    @classmethod
    def _several(cls, form: Any) -> Any:
        return (form,) if isinstance(form, int) else form

    @field_validator("steps")
    @classmethod
    def _rising(cls, steps: tuple[int, ...]) -> tuple[int, ...]:
        if not any(steps):
            raise ValueError("step 0 alone is the base; give steps to train")
        return tuple(sorted(set(steps)))

    @model_validator(mode="after")
    def _within(self) -> TunedLadder:
        length = self.finetune.steps or 0
        if length < self.steps[-1]:
            raise ValueError(f"the run ends after {length} steps, before its last point at {self.steps[-1]}")
        return self

    @field_serializer("base")
    def _base_form(self, base: Ladder) -> dict[str, Any]:
        return base.form()

    @field_serializer("finetune")
    def _finetune_form(self, finetune: Finetune) -> dict[str, Any]:
        """Without a length that is not given: what stands for it is the data's to say."""
        left_out = {"kind", *(["length"] if "length" not in finetune.model_fields_set else [])}
        return {name: value for name, value in finetune.canonical().items() if name not in left_out}

    @classmethod
    def model_json_schema(cls, *arguments: Any, **settings: Any) -> dict[str, Any]:
        """The JSON schema of its forms: any ladder of one rung as the base, and lists inside `finetune`."""
        schema = super().model_json_schema(*arguments, **settings)
        inner = (form.get("properties", {}) for form in CHANGES.json_schema()["anyOf"])
        schema["properties"] |= {
            "base": {"description": cls.model_fields["base"].description},
            "finetune": next(form[Finetune.kind] for form in inner if Finetune.kind in form),
        }
        return schema

    def along(self, checkpoints: Sequence[Checkpoint]) -> str:
        """Its steps."""
        return "steps"

    def rungs(self, seed: int = 0, folder: Path | None = None) -> list[TunedRung]:
        """One for every point. Raises PliantError for a base of several checkpoints, or of none."""
        found = self.base.rungs(seed, folder)
        if len(found) != 1:
            raise PliantError(f"base: {len(found)} checkpoints, and one is fine-tuned; name it, or give a list of bases")
        place = folder if folder is not None else cache_folder() / "trained"
        run = TuningRun(found[0], self.finetune, seed, place, drawn=self.base.seeded)
        return [TunedRung(run, step, tuple(filter(None, self.steps[:number]))) for number, step in enumerate(self.steps)]


LADDERS.add(TunedLadder)
