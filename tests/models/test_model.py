import hashlib

import pytest
import torch

from pliant.models import Checkpoint, Model, build
from pliant.models.model import parameter_counts


def hash_by_hand(network, transforms=()):
    """The definition in the docstring, written with numpy only."""
    named = {name: p.detach() for name, p in network.named_parameters()}
    content = hashlib.sha256()
    for name in sorted(named):
        tensor = named[name]
        content.update(f"{name} float32 {list(tensor.shape)}\n".encode() + tensor.numpy().tobytes())
    content.update("".join(f"{t}\n" for t in transforms).encode())
    return content.hexdigest()[:16]


def test_the_hash_is_what_its_docstring_says(tiny):
    assert tiny.weights() == hash_by_hand(tiny.network)
    tiny.transforms.append("activation rounding, 8 bits")
    assert tiny.weights() == hash_by_hand(tiny.network, tiny.transforms)


def test_every_bit_of_every_tensor_counts(tiny):
    before = tiny.weights()
    for parameter in tiny.network.parameters():
        bits = parameter.data.view(torch.int32)
        bits.view(-1)[-1] ^= 1
        assert tiny.weights() != before
        bits.view(-1)[-1] ^= 1
    assert tiny.weights() == before


def test_name_dtype_and_shape_count(tiny):
    class Holder(torch.nn.Module):
        def __init__(self, **tensors):
            super().__init__()
            for name, tensor in tensors.items():
                self.register_parameter(name, torch.nn.Parameter(tensor))

    def hash_of(**tensors):
        return Model(Holder(**tensors), tiny.tokenizer, tiny.checkpoint).weights()

    zeros = torch.zeros(2, 6)
    different = [
        hash_of(a=zeros),
        hash_of(b=zeros),
        hash_of(a=zeros.T.contiguous()),
        hash_of(a=zeros.bfloat16()),
        hash_of(a=zeros[:1], b=zeros[:1]),
    ]
    assert len(set(different)) == len(different)


def test_layout_in_memory_does_not_count(tiny):
    before = tiny.weights()
    weight = tiny.network.model.layers[0].mlp.up_proj.weight
    weight.data = weight.data.T.contiguous().T
    assert not weight.is_contiguous()
    assert tiny.weights() == before


def test_persistent_buffers_count_and_others_do_not(tiny):
    before = tiny.weights()
    tiny.network.register_buffer("scratch", torch.ones(3), persistent=False)
    assert tiny.weights() == before
    tiny.network.register_buffer("mask", torch.ones((), dtype=torch.bool))
    with_mask = tiny.weights()
    assert with_mask != before
    tiny.network.mask.fill_(False)
    assert tiny.weights() not in (before, with_mask)


def test_tied_tensors_count_once(tiny):
    network = tiny.network
    assert network.lm_head.weight is network.model.embed_tokens.weight
    tied = tiny.weights()
    network.lm_head.weight = torch.nn.Parameter(network.lm_head.weight.detach().clone())
    assert tiny.weights() != tied
    assert parameter_counts(network) == (8784 + 128 * 16, 6736)


def test_llama_parameters_against_the_formula(tiny):
    width, layers, vocabulary = 16, 2, 128
    inner = layers * (4 * width**2 + 3 * width * 48 + 2 * width) + width
    assert parameter_counts(tiny.network) == (inner + vocabulary * width, inner)
    assert inner + vocabulary * width == 8784


def test_untied_and_position_embeddings_are_outside():
    from transformers import AutoModelForCausalLM, GPT2Config, GPTNeoXConfig

    width, layers = 512, 6  # the shape of Pythia-70m
    neox = GPTNeoXConfig(vocab_size=50304, hidden_size=width, num_hidden_layers=layers, num_attention_heads=8, intermediate_size=4 * width)
    gpt2 = GPT2Config(vocab_size=100, n_embd=16, n_layer=1, n_head=2, n_positions=50)
    with torch.device("meta"):
        big, small = AutoModelForCausalLM.from_config(neox), AutoModelForCausalLM.from_config(gpt2)
    block = 12 * width**2 + 13 * width
    assert parameter_counts(big) == (layers * block + 2 * width + 2 * 50304 * width, layers * block + 2 * width)
    total, inner = parameter_counts(small)
    assert total - inner == (100 + 50) * 16


def test_context_comes_from_the_configuration(tiny):
    from transformers import AutoModelForCausalLM, BloomConfig, GPT2Config

    assert tiny.context == 32
    assert tiny.device == torch.device("cpu")
    with torch.device("meta"):
        for config, context in (
            (GPT2Config(n_embd=16, n_layer=1, n_head=2, n_positions=50), 50),
            (BloomConfig(hidden_size=16, n_layer=1, n_head=2), 2048),
        ):
            assert Model(AutoModelForCausalLM.from_config(config), tiny.tokenizer, Checkpoint(name="x")).context == context


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_dtypes_are_hashed_too(ascii_tokenizer, dtype):
    models = [build("gpt-neox-16x1", ascii_tokenizer, seed=seed, context=8) for seed in (0, 0, 1)]
    for model in models:
        model.network.to(dtype)
    assert models[0].weights() == models[1].weights() != models[2].weights()
