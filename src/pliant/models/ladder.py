"""A ladder: checkpoints of one family along an axis (tokens, steps, size ...), each opened when its turn comes.

Idea: a study walks over rungs and never asks where weights come from. A rung knows its facts before anything heavy
happens, is opened as a context manager, and cleans up after itself. A new kind of ladder is one file: a class derived from
`Ladder`, named in `LADDERS` (`pliant.study.ladders`) or under the entry-point group `pliant.ladders`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from pliant.axes import AXES, AxisName, axis_named
from pliant.numbers import Count
from pliant.spec import Spec, digest
from pliant.spec.spec import sweep

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pliant.models.checkpoint import Checkpoint
    from pliant.models.model import Model


class Rung(Protocol):
    """One checkpoint of a ladder. Can be pickled, so that a worker process may open it."""

    @property
    def checkpoint(self) -> Checkpoint:
        """What is known before it is opened; the opened model's own facts are complete."""
        ...

    @property
    def damage(self) -> str | None:
        """What could not be read beside weights that are whole, in a line."""
        ...

    @property
    def cost(self) -> float:
        """Floating-point operations that opening it takes: 6 x parameters x tokens where it must be trained, 0 where it is stored."""
        ...

    @property
    def identity(self) -> str:
        """Names the content of what will be opened, whatever it is called; equal identities need measuring only once.

        Raises PliantError when this checkpoint cannot be had.
        """
        ...

    def outline(self) -> PreTrainedModel | None:
        """The network without numbers (on PyTorch's device `meta`); None where that is not known before it is opened.

        Rungs of one architecture may answer with the same object.
        """
        ...

    def open(self) -> AbstractContextManager[Model]:
        """The loaded model, on PyTorch's default device; what was downloaded for it is gone when the block ends.

        Raises PliantError when this checkpoint cannot be had; the other rungs are not affected.
        """
        ...


class Ladder(Spec):
    """Base of all ladders. Abstract: a subclass writes `rungs`."""

    key: ClassVar[str]
    """The word by which a study file names it below `checkpoints`; by default its kind."""
    wrapped: ClassVar[bool] = True
    """Whether its fields stand below that word, `{word: {fields}}`; otherwise the word is the first of its fields."""
    seeded: ClassVar[bool] = False
    """Whether another seed gives other weights: those of a ladder that is trained here."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "key" not in cls.__dict__:
            cls.key = cls.kind

    @classmethod
    def takes(cls, form: Any) -> bool:
        """Whether what a study file says of its checkpoints is a form of this ladder."""
        return isinstance(form, Mapping) and (set(form) == {cls.key} if cls.wrapped else cls.key in form)

    @classmethod
    def forms(cls, fields: Mapping[str, Any]) -> Iterator[Any]:
        """The fields of every ladder that these stand for: lists where one value belongs are swept."""
        yield from sweep(fields, cls)

    @classmethod
    def from_form(cls, form: Any, where: str) -> Self:
        """The ladder that a form it takes stands for. Raises PliantError that starts with `where`."""
        return cls.parse(form[cls.key], f"{where}.{cls.key}") if cls.wrapped else cls.parse(form, where)

    def form(self) -> dict[str, Any]:
        """As a study file would say it, everything spelled out."""
        fields = {name: value for name, value in self.canonical().items() if name != "kind"}
        return {self.key: fields} if self.wrapped else fields

    @property
    def one_at_a_time(self) -> bool:
        """Whether its rungs are to be finished in their order, one after the other: those that are downloaded and deleted again."""
        return False

    @property
    def counted(self) -> str:
        """What its training is counted in: the name of an axis."""
        return "tokens"

    def skipped(self) -> dict[str, str]:
        """What was meant as a checkpoint and is none: why, and what to do, by its path."""
        return {}

    def rungs(self, seed: int = 0, folder: Path | None = None) -> Sequence[Any]:
        """Every checkpoint, a `Rung` each, in the order of its axis.

        Seed, and the folder for what is made, matter only where they are trained here.
        Raises PliantError when the family itself cannot be found.
        """
        raise NotImplementedError

    def along(self, checkpoints: Sequence[Checkpoint]) -> str:
        """The name of its axis, given the facts of its rungs."""
        return axis_of(checkpoints)

    def remarks(self, checkpoints: Sequence[Checkpoint]) -> list[str]:
        """What a user should know of the order of its rungs, a line each."""
        return []


def axis_of(checkpoints: Sequence[Checkpoint]) -> str:
    """What these checkpoints run over: the first axis that is known of all and on which some of one size differ; tokens, if none is.

    Sizes at several token counts are ladders over tokens beside each other; sizes with one checkpoint each are a ladder over sizes.
    """
    sizes = [checkpoint.params for checkpoint in checkpoints]
    for axis in AXES:
        places = [getattr(checkpoint, axis) for checkpoint in checkpoints]
        apart = axis != "params" and None not in sizes
        if None not in places and len(set(zip(sizes, places, strict=True) if apart else places)) > (len(set(sizes)) if apart else 1):
            return axis
    return "tokens"


class Loading(Spec):
    """How stored weights become a model."""

    tokenizer: str | None = Field(
        default=None, description="In place of the tokenizer beside the weights: bytes, ascii, a folder or a hub name"
    )
    dtype: str | None = Field(
        default=None, description="float32, bfloat16, float16, or auto for the checkpoint's own; float32 on a CPU by default"
    )
    trust_remote_code: bool = Field(default=False, description="Run modelling code that comes with the weights")

    def loading(self) -> dict[str, Any]:
        """The arguments of `load` that these fields are."""
        return {"tokenizer": self.tokenizer, "dtype": self.dtype, "trust_remote_code": self.trust_remote_code}


class Stored(Loading, Ladder):
    """What the ladders of existing weights have in common: their axis, how tokens are told, and how weights are loaded."""

    wrapped: ClassVar[bool] = False

    axis: AxisName | None = Field(
        default=None, description="What the checkpoints run over; by default the first of these that is known of all and differs"
    )
    tokens: dict[str, Count] | None = Field(
        default=None, description="Training tokens of each checkpoint, by the name of its folder or revision"
    )
    batch_tokens: Annotated[Count, Field(gt=0)] | None = Field(
        default=None, description="Tokens a step, where names or files tell steps only"
    )

    @model_serializer(mode="wrap")
    def _plain(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without an axis that is not said, so that studies from before there were axes keep their form."""
        return {name: value for name, value in handler(self).items() if name != "axis" or value is not None}

    def along(self, checkpoints: Sequence[Checkpoint]) -> str:
        """The axis that is said, else what the checkpoints differ in."""
        return self.axis or axis_of(checkpoints)

    def remarks(self, checkpoints: Sequence[Checkpoint]) -> list[str]:
        """That steps stand in for tokens, where nobody asked for steps."""
        by_steps = self.axis is None and self.along(checkpoints) == "steps"
        lacking = by_steps and any(checkpoint.tokens is None for checkpoint in checkpoints)
        return ["tokens unknown: ordered by steps; give batch_tokens for tokens"] if lacking else []

    def place(self, checkpoints: Sequence[Checkpoint]) -> list[tuple[bool, float]]:
        """A sort key for each of these checkpoints: its place on the axis; what has none comes last."""
        axis = axis_named(self.along(checkpoints))
        places = [getattr(checkpoint, axis.name) for checkpoint in checkpoints]
        return [(place is None, 0 if place is None else axis.along(place)) for place in places]

    def identity_of(self, content: str) -> str:
        """The identity of these files when loaded in this way."""
        return digest(f"{content} {self.tokenizer} {self.dtype}")
