"""What every family of presets is: a shape in one word, from which all settings of a fresh network follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from pliant.errors import PliantError
from pliant.spec import nearest
from pliant.spec.registry import Registry

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pliant.data.tokenizer import Tokenizer
    from pliant.models.images import ImageInput


@dataclass(frozen=True)
class Given:
    """What a network is made for: what it reads, and the labels that it answers with where it has any."""

    tokenizer: Tokenizer | None = None
    context: int = 64
    """Longest text, in tokens."""
    images: ImageInput | None = None
    labels: tuple[str, ...] | None = None

    @property
    def words(self) -> Tokenizer:
        """The tokenizer. Raises PliantError where none is given."""
        if self.tokenizer is None:
            raise PliantError("a network that reads text is built for a tokenizer; give one")
        return self.tokenizer


@dataclass(frozen=True)
class Preset:
    """Base of all families: a subclass is one, and names its fields. Abstract: it writes `of_shape`, `name`, and `network`."""

    family: ClassVar[str]
    """What names of its networks begin with."""
    task: ClassVar[str] = "causal"
    """What its networks answer with (see `pliant.models.tasks`)."""
    example: ClassVar[str]
    """A name, for messages."""
    named: ClassVar[dict[str, str]] = {}
    """Short names of some of its shapes."""

    @classmethod
    def parse(cls, name: str) -> Preset:
        """From `llama-16x2`, `gpt-neox-64x4` or a name such as `llama-1m`. Raises PliantError for anything else."""
        families = FAMILIES.entries()
        short = {short: long for family in families.values() for short, long in family.named.items()}
        full = short.get(name, name)
        for family in families.values():
            if full == family.family or full.startswith(f"{family.family}-"):
                found = family.of_shape(full.removeprefix(family.family).removeprefix("-"))
                if found is not None:
                    return found
        examples = ", ".join(family.example for family in families.values())
        raise PliantError(f"unknown preset {name!r}; write a family and its shape, such as {examples}; {nearest(name, short)}")

    @classmethod
    def of_shape(cls, shape: str) -> Self | None:
        """From what stands behind the family's name and a hyphen; None for what is no shape. Raises PliantError for one that cannot be."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        """`llama-16x2`."""
        raise NotImplementedError

    @property
    def learning_rate(self) -> float:
        """Peak AdamW learning rate to start tuning from."""
        return 1e-3

    def counts(self, given: Given) -> tuple[int, int]:
        """Parameters in total, and without embeddings and head."""
        import torch

        from pliant.models.model import parameter_counts

        with torch.device("meta"):
            return parameter_counts(self.network(given))

    def pixels(self, given: Given) -> ImageInput:
        """The form of the images that its networks read: what is given, or what the family is for."""
        if given.images is None:
            raise PliantError(f"{self.name} is built for images of one size; give their form")
        return given.images

    def network(self, given: Given) -> PreTrainedModel:
        """The network on PyTorch's device of the moment, with random numbers of the moment.

        Raises PliantError where what it needs is not given.
        """
        raise NotImplementedError


FAMILIES: Registry[type[Preset]] = Registry("preset", {}, home="pliant.models.presets")
"""Every family by its name; another package adds one under the entry-point group `pliant.presets`."""
