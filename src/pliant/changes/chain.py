"""Changes one after the other: fine-tune, then quantize. In a study file a chain is a list."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from pydantic import Field, SerializeAsAny, field_serializer, field_validator

from pliant.changes.change import Change

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
        if split := next((link for link in links if link.shares > 1), None):
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
