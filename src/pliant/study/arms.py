"""Several ladders beside each other: the arms of an experiment, each with a curve of its own.

Idea: what differs between two ladders (the method, the mixture of data, the learning rate) is a comparison that one study makes, on
the same measures and seeds. A list in a ladder's field stands for such arms; `arms` names them one by one.
When to use it: methods that each need learning rates of their own, bases beside each other.
Cost: that of the arms; what two have in common (a rung, a base) is made and measured once.
What goes wrong: all arms lie along one axis.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from pydantic import Field, SerializeAsAny, field_validator

from pliant.changes.told import corpus_name, detail
from pliant.errors import PliantError
from pliant.models import Ladder
from pliant.models.checkpoint import Checkpoint
from pliant.spec import Content, Spec, digest

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pliant.models import Model
    from pliant.models.ladder import Rung


class Arms(Ladder):
    """Ladders beside each other."""

    wrapped: ClassVar[bool] = False
    arms: tuple[SerializeAsAny[Ladder], ...] = Field(min_length=1, description="The ladders, each in any form that `checkpoints` takes")

    @classmethod
    def listed(cls, form: Mapping[str, Any], where: str) -> Sequence[Any]:
        """What a form it takes lists. Raises PliantError for anything but a list of ladders."""
        arms = form[cls.key]
        if len(form) > 1 or not isinstance(arms, list) or not arms:
            raise PliantError(f"{where}: {cls.key} is a list of ladders, with nothing beside it")
        return cast("list[Any]", arms)

    @field_validator("arms")
    @classmethod
    def _flat(cls, arms: tuple[Ladder, ...]) -> tuple[Ladder, ...]:
        inside = [one for arm in arms for one in (arm.arms if isinstance(arm, Arms) else (arm,))]
        return tuple({one.hash(): one for one in inside}.values())

    def form(self) -> dict[str, Any]:
        """Its arms, each as a study file would say it."""
        return {self.key: [arm.form() for arm in self.arms]}

    @property
    def seeded(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether any arm is."""
        return any(arm.seeded for arm in self.arms)

    @property
    def one_at_a_time(self) -> bool:
        """Whether any arm is."""
        return any(arm.one_at_a_time for arm in self.arms)

    def skipped(self) -> dict[str, str]:
        """Of all arms."""
        return {path: reason for arm in self.arms for path, reason in arm.skipped().items()}

    def along(self, checkpoints: Sequence[Checkpoint]) -> str:
        """The axis that all arms have. Raises PliantError where they have several."""
        found = list(dict.fromkeys(arm.along(checkpoints) for arm in self.arms))
        if len(found) > 1:
            raise PliantError(f"{self.key}: they run over {' and '.join(found)}; a study has one axis")
        return found[0]

    def remarks(self, checkpoints: Sequence[Checkpoint]) -> list[str]:
        """Of all arms."""
        return list(dict.fromkeys(note for arm in self.arms for note in arm.remarks(checkpoints)))

    @property
    def counted(self) -> str:
        """As its first arm's."""
        return self.arms[0].counted

    def rungs(self, seed: int = 0, folder: Path | None = None) -> list[Any]:
        """Those of every arm; where names alone do not tell two arms apart, what does is added to them."""
        found = [list(cast("Sequence[Rung]", arm.rungs(seed, folder))) for arm in self.arms]
        names = [frozenset(rung.checkpoint.address for rung in rungs) for rungs in found]
        alike = [[arm for arm, others in zip(self.arms, names, strict=True) if others & name] for name in names]
        labels = [_apart(arm, rivals) for arm, rivals in zip(self.arms, alike, strict=True)]
        return [ArmRung(rung, label) if label else rung for label, rungs in zip(labels, found, strict=True) for rung in rungs]


def _apart(arm: Ladder, rivals: Sequence[Ladder]) -> str:
    """What tells an arm from those of its name, in words; nothing where it is the only one."""
    form, others = dict(arm), [dict(rival) for rival in rivals]
    differing = [name for name, value in form.items() if any(other.get(name) != value for other in others)]
    return ", ".join(_told(name, form[name]) for name in differing)


def _told(name: str, value: Any) -> str:
    """A field in which arms differ."""
    if isinstance(value, Spec) and not isinstance(value, Content) and (data := [corpus_name(content) for content in value.content()]):
        return f"{name} {value.kind} of {', '.join(data)}"
    return f"no {name}" if value in (None, ()) else detail(name, value)


@dataclass(frozen=True)
class ArmRung:
    """A rung under the name of its arm."""

    rung: Rung
    arm: str

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """What is known before it is opened."""
        return self._named(self.rung.checkpoint)

    @property
    def damage(self) -> str | None:
        """The rung's own."""
        return self.rung.damage

    @property
    def cost(self) -> float:
        """The rung's own."""
        return self.rung.cost

    @cached_property
    def identity(self) -> str:
        """The rung's own with the arm, so that what two arms have in common has its place in both."""
        return digest(f"{self.rung.identity} {self.arm}")

    def outline(self) -> PreTrainedModel | None:
        """The rung's own."""
        return self.rung.outline()

    @contextlib.contextmanager
    def open(self) -> Generator[Model]:
        """The rung's model."""
        with self.rung.open() as model:
            yield replace(model, checkpoint=self._named(model.checkpoint))

    def _named(self, checkpoint: Checkpoint) -> Checkpoint:
        return checkpoint.model_copy(update={"name": f"{checkpoint.name}, {self.arm}"})
