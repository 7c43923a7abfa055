"""A network that does not exist yet: what it takes to make it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator, model_validator

from pliant.data import Tokenizer, load_tokenizer
from pliant.models.outline import preset_outline
from pliant.models.presets import Preset, build
from pliant.spec import Spec

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pliant.models import Model


class NewModel(Spec):
    """A network to be trained from fresh weights; the preset's name alone is a valid form."""

    preset: str = Field(description="Its shape: llama-16x2 (width x layers), gpt-neox-64x4, or a name such as llama-1m")
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

    def build(self, seed: int) -> Model:
        """The network with fresh weights, on the CPU."""
        return build(self.preset, self.words(), seed, self.context)

    def outline(self) -> PreTrainedModel:
        """The network without numbers: names and shapes of its tensors."""
        return _outline(self.preset, self.tokenizer, self.context)

    def counts(self) -> tuple[int, int]:
        """Its parameters: in total, and without embeddings and head."""
        return Preset.parse(self.preset).parameter_counts(_vocabulary(self.tokenizer))


@cache  # every rung of a plan asks, and reading a tokenizer can take a second
def _vocabulary(tokenizer: str) -> int:
    return load_tokenizer(tokenizer).vocab_size


@cache  # every rung of a plan asks
def _outline(preset: str, tokenizer: str, context: int) -> PreTrainedModel:
    return preset_outline(preset, load_tokenizer(tokenizer), context)
