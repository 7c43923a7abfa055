"""What is said of a network's anatomy, of networks of every kind: told by hand for each."""

import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    BertConfig,
    ConvNextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MixtralConfig,
    ResNetConfig,
    ViTConfig,
)

from pliant.errors import PliantError
from pliant.models.model import parameter_counts
from pliant.models.modules import (
    as_stored,
    blocks,
    embedding_weights,
    evaluating,
    head_weights,
    heads,
    in_mode,
    linear_layers,
    looks_ahead,
    select,
    tensor_groups,
    token_embedding,
    token_head,
)

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
TEXT = {**SIZES, "vocab_size": 64}
BUILT = {
    "llama": lambda: AutoModelForCausalLM.from_config(LlamaConfig(**TEXT)),
    "tied llama": lambda: AutoModelForCausalLM.from_config(LlamaConfig(**TEXT, tie_word_embeddings=True)),
    "gpt-neox": lambda: AutoModelForCausalLM.from_config(GPTNeoXConfig(**TEXT)),
    "gpt2": lambda: AutoModelForCausalLM.from_config(GPT2Config(n_embd=32, n_layer=2, n_head=2, vocab_size=64, n_positions=16)),
    "mixtral": lambda: AutoModelForCausalLM.from_config(MixtralConfig(**TEXT, num_local_experts=4)),
    "bert": lambda: AutoModelForMaskedLM.from_config(BertConfig(**TEXT)),
    "bert without a head": lambda: AutoModel.from_config(BertConfig(**TEXT)),
    "bert classifier": lambda: AutoModelForSequenceClassification.from_config(BertConfig(**TEXT)),
    "llama classifier": lambda: AutoModelForSequenceClassification.from_config(LlamaConfig(**TEXT)),
    "vit": lambda: AutoModelForImageClassification.from_config(ViTConfig(**SIZES, image_size=16, patch_size=8)),
    "resnet": lambda: AutoModelForImageClassification.from_config(ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])),
    "convnext": lambda: AutoModelForImageClassification.from_config(ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2)),
}
TOKENS = {
    "llama": {"model.embed_tokens.weight"},
    "tied llama": {"model.embed_tokens.weight"},
    "gpt-neox": {"gpt_neox.embed_in.weight"},
    "gpt2": {"transformer.wte.weight", "transformer.wpe.weight"},
    "mixtral": {"model.embed_tokens.weight"},
    "bert": {f"bert.embeddings.{name}_embeddings.weight" for name in ("word", "position", "token_type")},
    "bert without a head": {f"embeddings.{name}_embeddings.weight" for name in ("word", "position", "token_type")},
    "bert classifier": {f"bert.embeddings.{name}_embeddings.weight" for name in ("word", "position", "token_type")},
    "llama classifier": {"model.embed_tokens.weight"},
    "vit": {"vit.embeddings.cls_token", "vit.embeddings.position_embeddings"},
    "resnet": set(),
    "convnext": set(),
}
HEADS = {
    "llama": {"lm_head.weight"},
    "tied llama": {"model.embed_tokens.weight"},
    "gpt-neox": {"lm_head.weight"},
    "gpt2": {"transformer.wte.weight"},
    "mixtral": {"lm_head.weight"},
    "bert": {"bert.embeddings.word_embeddings.weight", "cls.predictions.bias"},
    "bert without a head": set(),
    "bert classifier": {"classifier.weight", "classifier.bias"},
    "llama classifier": {"score.weight"},
    "vit": {"classifier.weight", "classifier.bias"},
    "resnet": {"classifier.1.weight", "classifier.1.bias"},
    "convnext": {"classifier.weight", "classifier.bias"},
}


@pytest.fixture(params=BUILT)
def kind(request):
    return request.param


@pytest.fixture
def network(kind):
    torch.manual_seed(0)
    return BUILT[kind]()


def test_embeddings_and_heads(kind, network):
    assert embedding_weights(network) == TOKENS[kind]
    assert head_weights(network) == HEADS[kind]
    language = kind in ("llama", "tied llama", "gpt-neox", "gpt2", "mixtral", "bert")
    assert (token_head(network) is not None) is language
    assert len(heads(network)) == (kind != "bert without a head")


def test_linear_is_what_is_neither(kind, network):
    everything, linear = set(select(network, "matrices")), set(select(network, "linear"))
    assert linear == everything - TOKENS[kind] - HEADS[kind]
    inner = set(linear_layers(network, head=False))
    assert {f"{name}.weight" for name in inner} <= linear
    assert {f"{name}.weight" for name in linear_layers(network)} - {f"{name}.weight" for name in inner} <= HEADS[kind] | {
        "lm_head.weight",
        "cls.predictions.decoder.weight",
    }


def test_parameters_without_embeddings_and_head(kind, network):
    total, inner = parameter_counts(network)
    outside = TOKENS[kind] | HEADS[kind]
    assert total == sum(p.numel() for p in network.parameters())
    assert total - inner == sum(p.numel() for name, p in network.named_parameters() if name in outside)


def test_every_matrix_is_in_one_group(kind, network):
    groups = tensor_groups(network)
    names = [name for group in groups.values() for name in group]
    assert sorted(names) == sorted(select(network, "matrices"))
    assert set(groups.get("embedding", [])) == {name for name in TOKENS[kind] if name in names}
    if kind not in ("resnet", "convnext"):
        assert len(groups["attention"]) >= 2
        assert len(groups["mlp"]) >= 4


def test_the_stack_of_blocks(kind, network):
    stacks = {
        "llama": "model.layers",
        "tied llama": "model.layers",
        "llama classifier": "model.layers",
        "mixtral": "model.layers",
        "gpt-neox": "gpt_neox.layers",
        "gpt2": "transformer.h",
        "bert": "bert.encoder.layer",
        "bert classifier": "bert.encoder.layer",
        "bert without a head": "encoder.layer",
        "vit": "vit.layers",
        "convnext": "convnext.encoder.stages",
    }
    expected = [f"{stacks[kind]}.{number}" for number in range(2)] if kind in stacks else []
    found = blocks(network)
    assert list(found) == expected
    assert all(block is network.get_submodule(name) for name, block in found.items())


def test_a_longer_list_inside_a_block_is_not_the_stack():
    def block():
        inner = torch.nn.Module()
        inner.experts = torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(5))
        return inner

    network = torch.nn.Module()
    network.layers = torch.nn.ModuleList(block() for _ in range(3))
    assert list(blocks(network)) == ["layers.0", "layers.1", "layers.2"]


def test_who_sees_tokens_to_the_right(kind, network):
    assert looks_ahead(network) is (kind in ("bert", "bert classifier", "bert without a head", "vit"))


def test_who_reads_tokens(kind, network):
    if kind in ("vit", "resnet", "convnext"):
        with pytest.raises(PliantError, match="no table of tokens"):
            token_embedding(network)
    else:
        assert token_embedding(network).weight.shape[1] == 32


@pytest.mark.parametrize("tensors", ["matrices", "linear"])
def test_rows_are_outputs_and_share_memory(network, tensors):
    """What a row is multiplied with is as long as the row; writing into it writes into the network."""
    layers = {f"{name}.weight": layer for name, layer in network.named_modules()}
    for name, rows in select(network, tensors).items():
        layer = layers.get(name)
        if isinstance(layer, torch.nn.Conv2d):
            assert rows.shape == (layer.out_channels, layer.in_channels // layer.groups * layer.kernel_size[0] * layer.kernel_size[1])
        elif type(layer).__name__ == "Conv1D":
            assert rows.shape == (layer.nf, layer.nx)
        parameter = network.get_parameter(name)
        marked = torch.arange(rows.numel(), dtype=rows.dtype).reshape(rows.shape)
        rows.copy_(marked)
        assert torch.equal(as_stored(marked, network, name), parameter)


def test_a_square_weight_that_is_stored_the_other_way_round_is_turned():
    """Its shape does not tell."""
    network = BUILT["gpt2"]()
    name = "transformer.h.0.attn.c_proj.weight"
    rows = select(network, name)[name]
    assert rows.shape[0] == rows.shape[1]
    assert torch.equal(as_stored(rows.clone(), network, name), network.get_parameter(name))
    assert not torch.equal(rows, network.get_parameter(name))


@pytest.mark.parametrize("fails", [False, True])
def test_a_mode_ends_with_every_module_s_own(fails):
    network = BUILT["llama"]().train()
    network.model.layers[1].eval()
    before = {name: module.training for name, module in network.named_modules()}
    for context, training in ((evaluating(network), False), (in_mode(network, training=True), True)):
        try:
            with context:
                assert {module.training for module in network.modules()} == {training}
                network.model.layers[0].mlp.act_fn = torch.nn.SiLU().eval()
                if fails:
                    raise KeyError
        except KeyError:
            pass
        assert {name: module.training for name, module in network.named_modules()} == before, "what is new is as the network was"
