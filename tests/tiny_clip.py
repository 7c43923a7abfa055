"""A tiny CLIP of transformers' own class with random weights, saved and loaded as any user's."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer as Words
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

from pliant.models import ImageInput, Model, load

VOCABULARY = ["[PAD]", "[UNK]", "a", "photo", "of", "the", "cat", "dog", "red", "fox", ".", "[START]", "[END]"]


def clip(folder: Path, seed: int = 0) -> Model:
    """A tiny CLIP with weights of its own, and a tokenizer of a dozen words."""
    torch.manual_seed(seed)
    shared = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    ids = {"bos_token_id": 11, "eos_token_id": 12, "pad_token_id": 0}
    text = shared | ids | {"vocab_size": len(VOCABULARY), "max_position_embeddings": 12}
    config = CLIPConfig(text_config=text, vision_config=shared | {"image_size": 16, "patch_size": 8}, projection_dim=16, **ids)
    network = CLIPModel(config)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    network.save_pretrained(folder)
    words = Words(WordLevel({word: number for number, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    words.post_processor = TemplateProcessing(single="[START] $A [END]", special_tokens=[("[START]", 11), ("[END]", 12)])
    PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", bos_token="[START]", eos_token="[END]"
    ).save_pretrained(folder)
    ImageInput((16, 16), 3, (0.4,), (0.3,)).save(folder)
    return load(folder)
