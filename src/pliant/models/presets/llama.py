"""Llama: a gated MLP of 3 x width, rotary positions, norms without biases; token embeddings and output head are tied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pliant.models.presets.preset import Given
from pliant.models.presets.transformer import Decoder, causal_fields

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Llama(Decoder):
    """A language model."""

    family = "llama"
    example = "llama-16x2"
    mlp_factor = gates = 3
    named: ClassVar[dict[str, str]] = {
        "llama-9k": "llama-16x2",
        "llama-30k": "llama-32x2",
        "llama-100k": "llama-48x3",
        "llama-300k": "llama-80x3",
        "llama-1m": "llama-128x4",
        "llama-3m": "llama-256x4",
        "llama-10m": "llama-384x5",
        "llama-30m": "llama-512x8",
        "llama-100m": "llama-768x12",
    }
    """The number is roughly all parameters with a vocabulary that suits the size (ascii up to 300k)."""

    def vectors(self) -> tuple[int, int]:
        """Norms alone."""
        return 2 * self.width, self.width

    def network(self, given: Given) -> PreTrainedModel:
        """Plain transformers."""
        from transformers import LlamaConfig, LlamaForCausalLM

        return LlamaForCausalLM(LlamaConfig(**causal_fields(self, given)))
