"""A network that does not exist yet: what it takes to make it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator, model_validator

from pliant.data import Tokenizer, load_tokenizer
from pliant.models.heads import fitted
from pliant.models.model import parameter_counts
from pliant.models.outline import preset_outline
from pliant.models.presets import Given, Preset, build
from pliant.models.tasks import Needs
from pliant.spec import Spec

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pliant.models import Model


class NewModel(Spec):
    """A network to be trained from fresh weights; the preset's name alone is a valid form."""

    preset: str = Field(
        description="Its shape: llama-16x2 (width x layers), gpt-neox-64x4, bert-64x4, or a name such as llama-1m; "
        "of images resnet-20, cnn-16x2, mlp-128x1, vit-64x4"
    )
    tokenizer: str = Field("bytes", description="bytes, ascii, a tokenizer's folder or file, or a hub name")
    context: int = Field(64, ge=1, description="Longest input in tokens")

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, form: Any) -> Any:
        return {"preset": form} if isinstance(form, str) else form

    @field_validator("preset")
    @classmethod
    def _known(cls, preset: str) -> str:
        return Preset.parse(preset).name

    @property
    def learning_rate(self) -> float:
        """The peak learning rate to start tuning from."""
        return Preset.parse(self.preset).learning_rate

    def words(self) -> Tokenizer:
        """Its tokenizer. Raises PliantError when there is none of that name."""
        return load_tokenizer(self.tokenizer)

    def build(self, seed: int, needs: Needs | None = None) -> Model:
        """The network with fresh weights and the head that is needed, on the CPU."""
        given = needs or Needs()
        found = build(self.preset, self.words(), seed, self.context, images=given.images, labels=given.labels)
        return fitted(found, needs, seed)

    def outline(self, needs: Needs | None = None) -> PreTrainedModel:
        """The network without numbers: names and shapes of its tensors."""
        return _outline(self.preset, self.tokenizer, self.context, needs)

    def counts(self, needs: Needs | None = None) -> tuple[int, int]:
        """Its parameters: in total, and without embeddings and head."""
        shape = Preset.parse(self.preset)
        if needs is None or needs == Needs(shape.task):
            return shape.counts(Given(_words(self.tokenizer), self.context))
        return parameter_counts(self.outline(needs))


@cache  # every rung of a plan asks, and reading a tokenizer can take a second
def _words(tokenizer: str) -> Tokenizer:
    return load_tokenizer(tokenizer)


@cache  # every rung of a plan asks
def _outline(preset: str, tokenizer: str, context: int, needs: Needs | None) -> PreTrainedModel:
    return preset_outline(preset, _words(tokenizer), context, needs)
