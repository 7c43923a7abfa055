"""Calibration statistics against what hooks on an ordinary forward pass see."""

import gc
from types import SimpleNamespace

import pytest
import torch

from pliant.errors import PliantError
from pliant.models.modules import blocks, linear_layers
from pliant.quantization import inputs as inputs_module
from pliant.quantization import streaming
from pliant.quantization.calibration import calibrate
from pliant.quantization.streaming import block_by_block

FAMILIES = ["llama", "gpt_neox", "gpt2", "gemma2"]


def network(family="llama"):
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 48, "vocab_size": 64}
    sizes |= {"num_key_value_heads": 1, "head_dim": 16, "sliding_window": 8} if family == "gemma2" else {}
    if family == "gpt2":
        sizes = {"n_embd": 32, "n_layer": 3, "n_head": 2, "vocab_size": 64}
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **sizes)).eval()


def model(family="llama"):
    return SimpleNamespace(network=network(family), device=torch.device("cpu"))


def windows(count=10, length=24, seed=0):
    return torch.randint(64, (count, length), generator=torch.Generator().manual_seed(seed)).tolist()


def expected_moments(net, layer, text):
    """X X^T / tokens and mean |x| of one layer, from one ordinary pass."""
    seen = []

    def look(module, arguments):
        seen.append(arguments[0].reshape(-1, arguments[0].shape[-1]))

    hook = net.get_submodule(layer).register_forward_pre_hook(look)
    with torch.no_grad():
        net(input_ids=torch.tensor(text))
    hook.remove()
    rows = torch.cat(seen)
    return rows.T @ rows / len(rows), rows.abs().mean(0)


@pytest.mark.parametrize("family", FAMILIES)
def test_streaming_through_blocks_sees_what_an_ordinary_pass_sees(family, monkeypatch):
    monkeypatch.setattr(streaming, "BATCH_TOKENS", 24 * 4)  # batches of 4, 4 and 2 windows
    subject, text = model(family), windows()
    found = calibrate(subject, text)
    layers = [name for names, _ in found.groups() for name in names]
    assert len(layers) == sum(len(linear_layers(block)) for block in blocks(subject.network).values())
    for layer in layers:
        moments, magnitudes = expected_moments(subject.network, layer, text)
        assert torch.allclose(found.inputs(layer).moments, moments, rtol=1e-3, atol=1e-5)
        assert torch.allclose(found.inputs(layer).magnitudes, magnitudes, rtol=1e-3, atol=1e-5)


def test_layers_that_read_the_same_inputs_share_their_statistics():
    groups = [{name.rsplit(".", 1)[-1] for name in names} for names, _ in calibrate(model(), windows()).groups()]
    assert groups == [{"q_proj", "k_proj", "v_proj"}, {"o_proj"}, {"gate_proj", "up_proj"}, {"down_proj"}] * 3


def test_the_head_on_request():
    subject, text = model(), windows()
    found = calibrate(subject, text, head=True).inputs("lm_head")
    assert torch.allclose(found.moments, expected_moments(subject.network, "lm_head", text)[0], rtol=1e-3, atol=1e-5)
    with pytest.raises(PliantError, match="lm_head did not take part"):
        calibrate(subject, text).inputs("lm_head")


def test_what_does_not_fit_in_memory_is_kept_in_a_folder_with_the_same_content(monkeypatch):
    kept = calibrate(model(), windows())
    monkeypatch.setattr(inputs_module, "KEEP_BYTES", 40_000)
    spilled = calibrate(model(), windows())
    assert spilled._folder is not None
    assert any(spilled._folder.glob("*.safetensors"))
    for (names, inputs), (other_names, other) in zip(kept.groups(), spilled.groups(), strict=True):
        assert names == other_names
        assert torch.equal(inputs.moments, other.moments)
    folder = spilled._folder
    del spilled, inputs, other
    gc.collect()
    assert not folder.exists()


@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize(("layer", "named"), [("mlp.up_proj", "mlp.down_proj"), ("self_attn.v_proj", "self_attn.o_proj")])
def test_a_model_that_overflows_is_one_line_that_names_the_layer(layer, named, sequential):
    subject = model()
    subject.network.half()
    with torch.no_grad():
        subject.network.get_parameter(f"model.layers.1.{layer}.weight").mul_(3e4).clamp_(-6e4, 6e4)
        subject.network.get_parameter("model.layers.1.mlp.gate_proj.weight").mul_(3e4 if "mlp" in layer else 1.0).clamp_(-6e4, 6e4)
        norm = "post_attention_layernorm" if "mlp" in layer else "input_layernorm"
        subject.network.get_parameter(f"model.layers.1.{norm}.weight").fill_(100.0)
    with pytest.raises(PliantError, match=rf"layers\.1\.{named}.*too large for their number type") as caught:
        list(block_by_block(subject, windows(), sequential=sequential))
    assert len(str(caught.value).splitlines()) == 1


def test_an_overflow_behind_the_last_layer_is_one_line_as_well():
    subject = model()
    subject.network.half()
    with torch.no_grad():
        subject.network.get_parameter("model.layers.2.mlp.down_proj.weight").fill_(6e4)
        subject.network.get_parameter("model.layers.2.mlp.up_proj.weight").mul_(100.0)
    with pytest.raises(PliantError, match="what the last block gives is no finite numbers"):
        calibrate(subject, windows())


def test_the_network_is_left_as_it_was():
    subject = model()
    subject.network.train()
    before = {name: tensor.clone() for name, tensor in subject.network.state_dict().items()}
    calibrate(subject, windows())
    assert subject.network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in subject.network.state_dict().items())
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in subject.network.modules())


def test_a_network_whose_blocks_depend_on_each_other_is_refused():
    subject = model()
    second = list(blocks(subject.network).values())[1]
    calls = []
    second.register_forward_hook(lambda module, arguments, output: output * (2.0 if calls.append(1) or len(calls) > 1 else 1.0))
    with pytest.raises(PliantError, match="block by block"):
        calibrate(subject, windows())


def test_a_network_without_blocks_is_refused():
    with pytest.raises(PliantError, match="no stack of blocks"):
        calibrate(SimpleNamespace(network=torch.nn.Linear(3, 3), device=torch.device("cpu")), windows())
