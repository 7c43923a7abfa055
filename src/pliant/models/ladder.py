"""A ladder: checkpoints of one family along an axis (tokens, steps, size ...), each opened when its turn comes.

Idea: a study walks over rungs and never asks where weights come from. A rung knows its facts before anything heavy
happens, is opened as a context manager, and cleans up after itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol

from pydantic import Field

from pliant.axes import AXES
from pliant.numbers import Count
from pliant.spec import Spec, digest

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


class Ladder(Protocol):
    """A family of checkpoints."""

    seeded: ClassVar[bool]
    """Whether another seed gives other weights: those of a ladder that is trained here."""

    @property
    def one_at_a_time(self) -> bool:
        """Whether its rungs are to be finished in their order, one after the other: those that are downloaded and deleted again."""
        ...

    def skipped(self) -> dict[str, str]:
        """What was meant as a checkpoint and is none: why, and what to do, by its path."""
        ...

    def rungs(self, seed: int = 0, folder: Path | None = None) -> Sequence[Rung]:
        """Every checkpoint in the order of its axis. Seed, and the folder for what is made, matter only where they are trained here.

        Raises PliantError when the family itself cannot be found.
        """
        ...


def axis_of(checkpoints: Sequence[Checkpoint]) -> str:
    """What these checkpoints differ in: the first axis on which every one has a place and two places differ; tokens, if none is.

    With several sizes at several token counts that is tokens: sizes are ladders beside each other.
    """
    for axis in AXES:
        places = [getattr(checkpoint, axis) for checkpoint in checkpoints]
        if None not in places and len(set(places)) > 1:
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


class Stored(Loading):
    """What the ladders of existing weights have in common: how tokens are told, and how weights are loaded."""

    seeded: ClassVar[bool] = False

    tokens: dict[str, Count] | None = Field(
        default=None, description="Training tokens of each checkpoint, by the name of its folder or revision"
    )
    batch_tokens: Annotated[Count, Field(gt=0)] | None = Field(
        default=None, description="Tokens a step, where names or files tell steps only"
    )

    def skipped(self) -> dict[str, str]:
        """Nothing, where only folders can be."""
        return {}

    @property
    def one_at_a_time(self) -> bool:
        """Only where rungs are deleted behind a study."""
        return False

    def identity_of(self, content: str) -> str:
        """The identity of these files when loaded in this way."""
        return digest(f"{content} {self.tokenizer} {self.dtype}")
