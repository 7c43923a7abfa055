import pytest
import torch

from pliant.errors import PliantError
from pliant.models import build
from pliant.models.presets import NAMED, Preset


def expected_size(preset, vocabulary):
    """Written from the rules in the module's card, not from its code."""
    width, layers = preset.width, preset.layers
    if preset.family == "llama":
        inner = layers * (4 * width**2 + 3 * width * 3 * width + 2 * width) + width
    else:  # biases everywhere, two LayerNorms a block and one at the end
        inner = layers * (4 * width**2 + 4 * width + 2 * 4 * width**2 + 5 * width + 4 * width) + 2 * width
    return inner + vocabulary * width


@pytest.mark.parametrize("name", ["llama-16x2", "llama-9k", "llama-64x4", "gpt-neox-16x2", "gpt-neox-64x4", "llama-160x1"])
def test_sizes_follow_from_the_name(name, ascii_tokenizer):
    model = build(name, ascii_tokenizer, seed=0, context=16)
    preset = Preset.parse(name)
    assert model.checkpoint.params == expected_size(preset, 128)
    assert preset.parameter_counts(128) == (model.checkpoint.params, model.checkpoint.params_non_embedding)
    assert model.checkpoint.params - model.checkpoint.params_non_embedding == 128 * preset.width
    assert model.context == 16


def test_the_demo_model_is_the_agreed_one(tiny):
    config = tiny.network.config
    assert tiny.checkpoint.params == 8784
    assert (config.num_attention_heads, config.intermediate_size, config.initializer_range) == (1, 48, 0.1)
    assert config.tie_word_embeddings


def test_initial_weights_have_the_stated_spread(ascii_tokenizer):
    for name in ("llama-64x4", "gpt-neox-64x4"):
        network = build(name, ascii_tokenizer, seed=1, context=16).network
        matrices = torch.cat([p.detach().flatten() for p in network.parameters() if p.ndim == 2])
        error = 0.05 / (2 * len(matrices)) ** 0.5  # standard error of a normal sample's standard deviation
        assert abs(float(matrices.std()) - 0.4 / 8) < 4 * error
        assert abs(float(matrices.mean())) < 4 * 0.05 / len(matrices) ** 0.5


@pytest.mark.parametrize("name", ["llama-16x2", "gpt-neox-16x2"])
def test_a_seed_names_the_weights_and_leaves_the_global_state_alone(name, ascii_tokenizer):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = build(name, ascii_tokenizer, seed=3, context=8)
    assert torch.equal(torch.rand(3), expected)
    assert build(name, ascii_tokenizer, seed=3, context=8).weights() == first.weights()
    assert build(name, ascii_tokenizer, seed=4, context=8).weights() != first.weights()


@pytest.mark.parametrize("name", ["llama-16x2", "gpt-neox-32x1", "llama-80x1"])
def test_it_is_causal_and_stock_transformers(name, ascii_tokenizer):
    network = build(name, ascii_tokenizer, seed=0, context=8).network.eval()
    assert type(network).__module__.startswith("transformers.")
    ids = torch.arange(8)[None]
    changed = ids.clone()
    changed[0, 5:] = 100
    with torch.no_grad():
        one, other = network(input_ids=ids).logits, network(input_ids=changed).logits
    assert torch.equal(one[0, :5], other[0, :5])
    assert not torch.allclose(one[0, 5:], other[0, 5:])


def test_named_presets_span_the_range():
    sizes = [expected_size(Preset.parse(name), 128 if Preset.parse(name).width <= 80 else 8192) for name in NAMED]
    assert sizes == sorted(sizes)
    assert sizes[0] < 10_000
    assert 90e6 < sizes[-1] < 110e6
    rates = [Preset.parse(name).learning_rate for name in NAMED]
    assert rates == sorted(rates, reverse=True)
    assert (rates[0], rates[-1]) == (1e-2, 6e-4)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("llama-16", "unknown preset"),
        ("lama-1m", "did you mean 'llama-1m'"),
        ("llama-20x2", "multiple of 16"),
        ("llama-300x2", "multiple of 64"),
        ("llama-16x0", "at least one layer"),
        ("gpt-neox-0x2", "multiple of 16"),
    ],
)
def test_wrong_presets_are_one_line(name, message, ascii_tokenizer):
    with pytest.raises(PliantError, match=message):
        build(name, ascii_tokenizer)


def test_a_context_of_nothing_is_refused(ascii_tokenizer):
    with pytest.raises(PliantError, match="at least one token"):
        build("llama-16x2", ascii_tokenizer, context=0)
