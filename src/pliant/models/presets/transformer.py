"""Transformers that read text, shaped by width and layers: what their families share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pliant.errors import PliantError
from pliant.models.presets.preset import Given, Preset

if TYPE_CHECKING:
    from pliant.data.tokenizer import Tokenizer


@dataclass(frozen=True)
class Transformer(Preset):
    """`FAMILY-WIDTHxLAYERS`. Heads are 16 wide below width 128, 32 below 256, 64 from there on; no dropout."""

    width: int
    layers: int
    mlp_factor: ClassVar[int] = 4
    """Width of the hidden layer of the MLP over that of the network."""

    @classmethod
    def of_shape(cls, shape: str) -> Self | None:
        """From `16x2`. Raises PliantError for a width that does not divide into heads."""
        match = re.fullmatch(r"(\d{1,9})x(\d{1,9})", shape)
        if match is None:
            return None
        preset = cls(int(match[1]), int(match[2]))
        if preset.width == 0 or preset.width % preset.head_width or preset.layers == 0:
            raise PliantError(f"preset {preset.name!r}: the width must be a multiple of {preset.head_width}, with at least one layer")
        return preset

    @property
    def name(self) -> str:
        """`llama-16x2`."""
        return f"{self.family}-{self.width}x{self.layers}"

    @property
    def head_width(self) -> int:
        """Width of one attention head."""
        return 16 if self.width < 128 else 32 if self.width < 256 else 64

    @property
    def mlp_width(self) -> int:
        """Width of the hidden layer of the MLP."""
        return self.mlp_factor * self.width

    @property
    def initializer_range(self) -> float:
        """Standard deviation of the initial weights."""
        return 0.4 / sqrt(self.width)

    @property
    def learning_rate(self) -> float:
        """Peak AdamW learning rate to start tuning from."""
        return float(f"{1e-2 * (16 / self.width) ** 0.73:.1g}")

    def config_fields(self, vocabulary: int, context: int) -> dict[str, Any]:
        """Fields of the transformers configuration, in the words that all families share."""
        return {
            "vocab_size": vocabulary,
            "hidden_size": self.width,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.width // self.head_width,
            "intermediate_size": self.mlp_width,
            "max_position_embeddings": context,
            "initializer_range": self.initializer_range,
            "tie_word_embeddings": True,
        }


@dataclass(frozen=True)
class Decoder(Transformer):
    """One that predicts the next token: the parameters of its layers follow from the family's rules."""

    gates: ClassVar[int]
    """Matrices of an MLP."""

    def vectors(self) -> tuple[int, int]:
        """Parameters of norms and biases: of a layer, and behind the last one."""
        raise NotImplementedError

    def parameter_counts(self, vocabulary: int) -> tuple[int, int]:
        """Parameters in total, and without embeddings and head; known without building a network, which takes seconds to import."""
        of_layer, behind = self.vectors()
        inner = self.layers * (4 * self.width**2 + self.gates * self.width * self.mlp_width + of_layer) + behind
        return inner + vocabulary * self.width, inner

    def counts(self, given: Given) -> tuple[int, int]:
        """Worked out from its shape."""
        return self.parameter_counts(given.words.vocab_size)


def causal_fields(preset: Decoder, given: Given) -> dict[str, Any]:
    """The configuration of a causal language model for this tokenizer."""
    words: Tokenizer = given.words
    special = {"bos_token_id": words.beginning_id, "eos_token_id": words.end_id, "pad_token_id": None}
    return {**preset.config_fields(words.vocab_size, given.context), **special}
