"""Changes one after the other: fine-tune, then quantize. In a study file a chain is a list."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, SerializeAsAny, field_serializer, field_validator

from pliant.changes.change import Change
from pliant.spec import Content

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pliant.models import Model


class Chain(Change):
    """Apply `links` in order, each to what the one before it left; they share the seed and the draw."""

    links: tuple[SerializeAsAny[Change], ...] = Field(min_length=2, description="The changes, in the order in which they are made")

    @field_validator("links", mode="before")
    @classmethod
    def _parsed(cls, links: Any) -> Any:
        from pliant.changes import CHANGES

        return [CHANGES.parse(link) for link in links] if isinstance(links, (list, tuple)) else links

    @field_validator("links")
    @classmethod
    def _whole(cls, links: tuple[Change, ...]) -> tuple[Change, ...]:
        if split := next((link for link in links if link.pooled), None):
            raise ValueError(f"`split` of {split.kind} is not for chains: every share would repeat the whole chain; leave it out")
        return links

    @property
    def draws(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The most draws that any link asks for; a link with fewer starts over when it has used them up."""
        return max(link.draws for link in self.links)

    @property
    def stochastic(self) -> bool:
        """Whether any link is."""
        return any(link.stochastic for link in self.links)

    @property
    def strength(self) -> float | None:
        """Of the last link that has one."""
        return self._strongest.strength

    @property
    def stronger(self) -> Literal["higher", "lower"]:
        """Of the link whose strength counts."""
        return self._strongest.stronger

    @property
    def weight_bits(self) -> int | None:
        """Of the last link."""
        return self.links[-1].weight_bits

    @property
    def mirrored(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether any link's draws are."""
        return any(link.mirrored for link in self.links)

    @property
    def learning_rate(self) -> float | None:
        """Of the first link that trains."""
        return next((link.learning_rate for link in self.links if link.trains), None)

    @property
    def trains_on(self) -> tuple[Content, ...]:
        """Of all links."""
        return tuple(content for link in self.links for content in link.trains_on)

    @property
    def _strongest(self) -> Change:
        return next((link for link in reversed(self.links) if link.strength is not None), self.links[-1])

    def meaning(self) -> dict[str, Any]:
        """That of its links."""
        return self.canonical() | {"links": [link.meaning() for link in self.links]}

    def notes(self) -> list[str]:
        """Of all links."""
        return [note for link in self.links for note in link.notes()]

    def training_tokens(self, context: float) -> float:
        """Of all links."""
        return sum(link.training_tokens(context) for link in self.links)

    def singly(self) -> tuple[Change, ...]:
        """Its links."""
        return self.links

    def title(self) -> str:
        """`Fine-tuning on code, then Quantization`."""
        return ", then ".join(link.title() for link in self.links)

    def member(self, tuned: bool = False) -> str:
        """Those of its links; the rate that is tuned is the first one's."""
        return " + ".join(filter(None, (link.member(tuned and link is self._first_trained) for link in self.links)))

    def told(self, tuned: bool) -> dict[str, Any]:
        """With the rate of the first link that trains."""
        return self.canonical() | {"links": [link.told(tuned and link is self._first_trained) for link in self.links]}

    @property
    def _first_trained(self) -> Change | None:
        return next((link for link in self.links if link.trains), None)

    @field_serializer("links")
    def _with_kinds(self, links: tuple[Change, ...]) -> list[dict[str, Any]]:
        return [link.canonical() for link in links]

    def label(self) -> str:
        """`finetune(...) + quantize(...)`."""
        return " + ".join(link.label() for link in self.links)

    @property
    def needs_shapes(self) -> bool:
        """Whether any link does."""
        return any(link.needs_shapes for link in self.links)

    def check(self, network: PreTrainedModel) -> None:
        """Every link: none of them alters a shape."""
        for link in self.links:
            link.check(network)

    def apply(self, model: Model, seed: int, draw: int, undo: ExitStack) -> None:
        """Every link in order."""
        for link in self.links:
            link.apply(model, seed, draw % link.draws, undo)
