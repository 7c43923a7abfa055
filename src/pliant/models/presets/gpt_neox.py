"""GPT-NeoX: a plain MLP of 4 x width, biases everywhere, a quarter of each head turned by its position (Pythia's choice); tied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pliant.models.presets.preset import Given
from pliant.models.presets.transformer import Decoder, causal_fields

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class GptNeox(Decoder):
    """A language model."""

    family = "gpt-neox"
    example = "gpt-neox-64x4"
    gates = 2

    def vectors(self) -> tuple[int, int]:
        """Norms and biases."""
        return 9 * self.width + self.mlp_width, 2 * self.width

    def network(self, given: Given) -> PreTrainedModel:
        """Plain transformers."""
        from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

        return GPTNeoXForCausalLM(GPTNeoXConfig(**causal_fields(self, given)))
