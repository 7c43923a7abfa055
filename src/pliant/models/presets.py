"""Fresh networks for training here: plain transformers Llama and GPT-NeoX, described in one word.

`llama-16x2` is width 16 and 2 layers. Everything else follows from these rules:

- heads: 16 wide below width 128, 32 below 256, 64 from there on (width 16 has one head, 128 and 256 have four);
- MLP: Llama's gated one is 3 x width, GPT-NeoX's plain one 4 x width;
- initial weights: normal with standard deviation 0.4 / sqrt(width) everywhere, 0.1 at width 16;
- token embeddings and output head are tied; no dropout; GPT-NeoX turns a quarter of each head (Pythia's choice).

With the `ascii` tokenizer `llama-16x2` has 8,784 parameters. Attention is PyTorch's fused one (`sdpa`): measured on one
CPU thread at widths 16 to 256 it trains 2 to 15% and evaluates 2 to 16% faster than `eager`; a measure that
differentiates twice can switch with `network.set_attn_implementation("eager")`.

The named presets span 9k to 100M parameters. Their learning rates (peak, AdamW, 2,048 tokens a batch) fall as width to the
power -0.73, from 1e-2 at width 16 to 6e-4 at width 768: a place to start tuning from, on the safe side. Twice as much still
gains a little up to width 80 and loses at 128, as these held-out losses show (nats/token, English prose, cosine, one seed):

| width x layers | tokens | half the preset's rate | the preset's | twice |
|---|---|---|---|---|
| 16x2 | 2M | 2.325 | 2.212 | 2.176 |
| 16x2 | 8M | | 2.028 | 2.015 |
| 32x2 | 8M | | 1.684 | 1.651 |
| 48x3 | 1M | 2.025 | 1.863 | 1.813 |
| 80x3 | 1M | 1.866 | 1.751 | 1.730 |
| 128x4 | 0.5M | | 2.058 | 2.164 |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Any, Literal

from pliant.errors import PliantError
from pliant.spec import nearest

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pliant.data.tokenizer import Tokenizer
    from pliant.models.model import Model

Family = Literal["llama", "gpt-neox"]
_GRAMMAR = re.compile(r"(llama|gpt-neox)-(\d+)x(\d+)")

NAMED = {
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
"""Short names; the number is roughly all parameters with a vocabulary that suits the size (ascii up to 300k)."""


@dataclass(frozen=True)
class Preset:
    """The shape of a network, from which all its settings follow."""

    family: Family
    width: int
    layers: int

    @classmethod
    def parse(cls, name: str) -> Preset:
        """From `llama-16x2`, `gpt-neox-64x4` or a name such as `llama-1m`. Raises PliantError for anything else."""
        match = _GRAMMAR.fullmatch(NAMED.get(name, name))
        if match is None:
            raise PliantError(f"unknown preset {name!r}; write WIDTHxLAYERS such as llama-16x2 or gpt-neox-64x4; {nearest(name, NAMED)}")
        preset = cls("llama" if match[1] == "llama" else "gpt-neox", int(match[2]), int(match[3]))
        if preset.width == 0 or preset.width % preset.head_width or preset.layers == 0:
            raise PliantError(f"preset {name!r}: the width must be a multiple of {preset.head_width}, with at least one layer")
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
        return (3 if self.family == "llama" else 4) * self.width

    @property
    def initializer_range(self) -> float:
        """Standard deviation of the initial weights."""
        return 0.4 / sqrt(self.width)

    @property
    def learning_rate(self) -> float:
        """Peak AdamW learning rate to start tuning from."""
        return float(f"{1e-2 * (16 / self.width) ** 0.73:.1g}")

    def parameter_counts(self, vocabulary: int) -> tuple[int, int]:
        """Parameters in total, and without embeddings and head; known without building a network, which takes seconds to import."""
        width, hidden = self.width, self.mlp_width
        matrices = 4 * width * width + (3 if self.family == "llama" else 2) * width * hidden
        vectors = 2 * width if self.family == "llama" else 9 * width + hidden  # norms; and biases, which only GPT-NeoX has
        final_norm = width if self.family == "llama" else 2 * width
        inner = self.layers * (matrices + vectors) + final_norm
        return inner + vocabulary * width, inner

    def config_fields(self, vocabulary: int, context: int) -> dict[str, Any]:
        """Fields of the transformers configuration, in the words that both families share."""
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


def build(preset: str, tokenizer: Tokenizer, seed: int = 0, context: int = 64) -> Model:
    """A network with fresh float32 weights on the CPU; the same numbers for the same arguments.

    The global random state is left untouched. Move it with `model.network.to(device)`.

    Args:
        preset: Its shape, see above.
        tokenizer: Gives the vocabulary and the special tokens.
        seed: Seed of the initial weights.
        context: Longest input, in tokens.

    Raises PliantError for an unknown preset or a context of no tokens.
    """
    from pliant.models.checkpoint import Checkpoint
    from pliant.models.model import Model, parameter_counts

    shape = Preset.parse(preset)
    if context < 1:
        raise PliantError(f"context must be at least one token, not {context}")
    network = _network(shape, tokenizer, seed, context)
    total, inner = parameter_counts(network)
    facts = Checkpoint(name=shape.name, params=total, params_non_embedding=inner, tokens=0, seed=seed)
    return Model(network, tokenizer, facts)


def _network(shape: Preset, tokenizer: Tokenizer, seed: int, context: int) -> PreTrainedModel:
    import torch

    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.random.manual_seed(seed)
        return unfilled(shape, tokenizer, context)


def unfilled(shape: Preset, tokenizer: Tokenizer, context: int) -> PreTrainedModel:
    """The network as it is built on PyTorch's device of the moment, with random numbers of the moment."""
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM

    special = {"bos_token_id": tokenizer.beginning_id, "eos_token_id": tokenizer.end_id, "pad_token_id": None}
    fields: dict[str, Any] = {**shape.config_fields(tokenizer.vocab_size, context), **special}
    if shape.family == "llama":
        return LlamaForCausalLM(LlamaConfig(**fields))
    return GPTNeoXForCausalLM(GPTNeoXConfig(**fields))
