"""BERT: attention to both sides, learned positions, a plain MLP of 4 x width; the masked head is tied to the embeddings.

A tokenizer without a token for masked places gets one more row for it, behind its own ids: `mask_token_id` of the configuration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pliant.models.presets.preset import Given
from pliant.models.presets.transformer import Transformer

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Bert(Transformer):
    """A masked language model."""

    family = "bert"
    task = "masked"
    example = "bert-64x4"

    def network(self, given: Given) -> PreTrainedModel:
        """Plain transformers."""
        from transformers import BertConfig, BertForMaskedLM

        words = given.words
        own = words.mask_id is None
        config = BertConfig(
            **self.config_fields(words.vocab_size + own, given.context),
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            pad_token_id=words.padding_id,
        )
        config.mask_token_id = words.vocab_size if own else words.mask_id
        return BertForMaskedLM(config)
