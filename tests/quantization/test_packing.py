"""Packed weights: transformers must read back exactly what was simulated."""

import json
import re
import signal
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from pliant.changes import Quantize
from pliant.data.tokenizer import load_tokenizer
from pliant.errors import PliantError
from pliant.models import load, save
from pliant.models.presets import build
from pliant.quantization.packing import packable

pytest.importorskip("compressed_tensors", reason="the extra `kernels` is not installed")


@pytest.fixture
def model():
    return build("llama-32x2", load_tokenizer("ascii"), seed=0, context=64)


@pytest.mark.parametrize("scheme", ["symmetric", "full_range"])
@pytest.mark.parametrize("group", ["tensor", "channel", 16])
@pytest.mark.parametrize("bits", [3, 4, 8])
def test_transformers_loads_the_weights_that_were_simulated(model, tmp_path, bits, group, scheme):
    from transformers import AutoModelForCausalLM

    change = Quantize(bits=bits, group=group, scheme=scheme, tensors="linear")
    change.save_packed(model, tmp_path / "packed")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "packed")
    tokens = torch.randint(128, (3, 20), generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), change.applied(model) as changed:
        expected = changed.network(tokens).logits
        assert torch.allclose(loaded(tokens).logits, expected, atol=1e-5)
    with torch.no_grad():
        assert not torch.allclose(model.network(tokens).logits, expected, atol=1e-3) or bits == 8


def test_packed_weights_are_loaded_as_ordinary_ones_that_can_be_changed_again(model, tmp_path):
    change = Quantize(bits=4, tensors="linear")
    change.save_packed(model, tmp_path / "packed")
    loaded = load(tmp_path / "packed")
    with change.applied(model):
        expected = {name: weight.clone() for name, weight in model.network.named_parameters()}
    found = dict(loaded.network.named_parameters())
    assert set(found) == set(expected)
    for name, weight in expected.items():
        assert torch.allclose(found[name], weight, rtol=1e-6, atol=1e-7), name
    save(loaded, tmp_path / "plain")
    assert load(tmp_path / "plain").weights() == loaded.weights()


def test_an_untied_head_stays_as_it_is_whatever_the_architecture_calls_it(tmp_path):
    model = build("gpt-neox-32x2", load_tokenizer("ascii"), seed=0, context=64)
    head = model.network.get_output_embeddings()
    head.weight = torch.nn.Parameter(head.weight.detach() * 2)
    model.network.config.tie_word_embeddings = False
    change = Quantize(bits=4, tensors="linear")
    change.save_packed(model, tmp_path / "packed")
    loaded = load(tmp_path / "packed")
    assert torch.equal(loaded.network.get_output_embeddings().weight, head.weight)
    with change.applied(model):
        expected = model.network.get_parameter("gpt_neox.layers.0.mlp.dense_h_to_4h.weight").clone()
    assert torch.allclose(loaded.network.get_parameter("gpt_neox.layers.0.mlp.dense_h_to_4h.weight"), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("kind", "head"), [("sequence", "score"), ("image", "classifier")])
def test_a_classifier_s_head_is_not_among_what_is_packed(kind, head):
    from transformers import AutoModelForImageClassification, AutoModelForSequenceClassification, LlamaConfig, ViTConfig

    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
    if kind == "sequence":
        network = AutoModelForSequenceClassification.from_config(LlamaConfig(**sizes, vocab_size=64))
    else:
        network = AutoModelForImageClassification.from_config(ViTConfig(**sizes, image_size=16, patch_size=8))
    found = packable(network, {name: p.detach() for name, p in network.named_parameters()})
    assert found
    assert not any(name.startswith(head) for name in found)
    assert all(name.endswith(".weight") and weight.ndim == 2 for name, weight in found.items())


def test_weights_packed_in_a_way_that_nobody_unpacks_are_refused(model, tmp_path):
    save(model, tmp_path / "packed")
    config = json.loads((tmp_path / "packed" / "config.json").read_text())
    (tmp_path / "packed" / "config.json").write_text(json.dumps(config | {"quantization_config": {"quant_method": "awq"}}))
    stored = load_file(tmp_path / "packed" / "model.safetensors")
    stored["model.layers.0.mlp.up_proj.qweight"] = stored.pop("model.layers.0.mlp.up_proj.weight").to(torch.int32)
    save_file(stored, tmp_path / "packed" / "model.safetensors")
    with pytest.raises(PliantError, match=r"packed \(awq\)"):
        load(tmp_path / "packed")


def test_the_packed_file_is_smaller(model, tmp_path):
    Quantize(bits=4, tensors="linear").save_packed(model, tmp_path / "packed")
    stored = load_file(tmp_path / "packed" / "model.safetensors")
    name = "model.layers.0.mlp.down_proj."
    assert stored[f"{name}weight_packed"].numel() * 32 == model.network.get_parameter(f"{name}weight").numel() * 4
    assert f"{name}weight" not in stored


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"method": "awq", "group": "tensor", "calibration": "builtin:prose"}, "one grid a tensor"),
        ({"scheme": "asymmetric"}, "asymmetric"),
        ({"exceptions": {"*": 3}}, "one number of bits"),
        ({"kv": 4}, "at evaluation only"),
        ({"bits": 16}, "nothing to pack"),
    ],
)
def test_what_the_format_cannot_hold_is_refused(model, tmp_path, fields, words):
    with pytest.raises(PliantError, match=words):
        Quantize(**{"bits": 4, "tensors": "linear"} | fields).save_packed(model, tmp_path / "packed")
    assert not (tmp_path / "packed").exists()


def test_a_folder_with_something_in_it_is_left_alone(model, tmp_path):
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(PliantError, match="not empty"):
        Quantize(bits=4).save_packed(model, tmp_path)
    assert (tmp_path / "mine").read_text() == "precious"


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_full_range_grid_is_the_format_s_own(bits):
    from compressed_tensors.quantization import QuantizationArgs
    from compressed_tensors.quantization.utils import calculate_qparams

    from pliant.quantization.grid import fit_grid

    weight = torch.randn(6, 40, generator=torch.Generator().manual_seed(0))
    scale, zero = calculate_qparams(weight.amin(-1), weight.amax(-1), QuantizationArgs(num_bits=bits, symmetric=True))
    assert torch.allclose(1 / fit_grid(weight, bits, "full_range").scale[:, 0], scale, rtol=1e-6)
    assert (zero == 0).all()


def quantized_by_awq(**fields):
    return Quantize(**{"method": "awq", "tensors": "linear", "calibration": "builtin:prose", "samples": 16, "length": 64, **fields})


@pytest.fixture
def outlying(model):
    """Norms with a few large gains: input channels that AWQ stretches."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.network.named_parameters():
            if "layernorm" in name:
                parameter.mul_(torch.exp(torch.randn(len(parameter), generator=generator)))
    return model


@pytest.mark.parametrize(("bits", "group", "scheme"), [(3, "channel", "symmetric"), (4, 16, "full_range")])
def test_awq_is_folded_so_that_transformers_loads_what_was_simulated(outlying, tmp_path, bits, group, scheme):
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    change = quantized_by_awq(bits=bits, group=group, scheme=scheme)
    before = outlying.weights()
    change.save_packed(outlying, tmp_path / "packed")
    assert outlying.weights() == before
    gains = load_file(tmp_path / "packed" / "model.safetensors")["model.layers.0.input_layernorm.weight"]
    gain = outlying.network.get_parameter("model.layers.0.input_layernorm.weight")
    assert (gains / gain).max() > 1.5 * (gains / gain).min(), "nothing was stretched"
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "packed")
    tokens = torch.randint(128, (3, 20), generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), change.applied(outlying) as changed:
        expected = changed.network(tokens).logits
        assert torch.allclose(loaded(tokens).logits, expected, atol=1e-4)
    with torch.no_grad(), Quantize(bits=bits, group=group, scheme=scheme, tensors="linear").applied(outlying) as changed:
        assert not torch.allclose(changed.network(tokens).logits, expected, atol=1e-3)


@pytest.mark.parametrize(
    ("heads", "tensors", "words"),
    [
        (1, "linear", r"layers\.0\.self_attn\.o_proj\.weight: no layer before it"),
        (2, "*.q_proj.weight", r"q_proj\.weight: model\.layers\.0\.self_attn\.k_proj reads the same inputs"),
    ],
)
def test_awq_that_cannot_be_folded_is_refused_by_the_layer_s_name(model, tmp_path, heads, tensors, words):
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(
        vocab_size=128, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=heads
    )
    model.network = AutoModelForCausalLM.from_config(config)
    change = quantized_by_awq(bits=4, tensors=tensors)
    assert re.search(words, str(change.unpackable(model)))
    with pytest.raises(PliantError, match=words):
        change.save_packed(model, tmp_path / "packed")
    assert not (tmp_path / "packed").exists()


def test_a_network_that_is_not_built_as_its_layers_are_named_is_refused(model, tmp_path):
    """A norm whose gain counts from one, as Gemma's do: dividing its parameter does not divide its outputs."""
    for block in model.network.model.layers:
        block.input_layernorm.register_forward_hook(lambda module, arguments, output: output * 2 + arguments[0])
    before = {name: weight.clone() for name, weight in model.network.state_dict().items()}
    assert "not built as its layers are named" in str(quantized_by_awq(bits=3).unpackable(model))  # before anything is calibrated
    assert all(torch.equal(weight, before[name]) for name, weight in model.network.state_dict().items())
    with pytest.raises(PliantError, match="not built as its layers are named"):
        quantized_by_awq(bits=3).save_packed(model, tmp_path / "packed")
    assert not (tmp_path / "packed").exists()


@pytest.mark.parametrize("method", ["gptq", "awq"])
def test_both_forms_are_written_from_one_rounding(outlying, tmp_path, method):
    """The subfolder is what `save` writes, also where the packed weights are folded; a model not kept need not be restored."""
    change = quantized_by_awq(bits=3, method=method)
    change.save(outlying, tmp_path / "expected")
    before = outlying.weights()
    change.save_packed(outlying, tmp_path / "packed", fake_quantized=True)
    assert outlying.weights() == before
    assert load(tmp_path / "packed" / "simulated").weights() == load(tmp_path / "expected").weights()
    change.save_packed(outlying, tmp_path / "again", keep=False)
    assert load(tmp_path / "again").weights() == load(tmp_path / "packed").weights()
    assert outlying.weights() != before


KILLED = """
import os, signal, sys
from pathlib import Path
import transformers
from pliant.changes import Quantize
from pliant.data.tokenizer import load_tokenizer
from pliant.models.presets import build
from pliant.quantization.packing import packable
model = build("llama-32x2", load_tokenizer("ascii"), seed=0, context=64)
model.network.save_pretrained = lambda folder, **rest: os.kill(os.getpid(), signal.SIGKILL)
Quantize(bits=4, tensors="linear").save_packed(model, Path(sys.argv[1]))
"""


def test_a_killed_export_leaves_nothing_for_ever(model, tmp_path, monkeypatch):
    assert subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "out")], check=False).returncode == -signal.SIGKILL
    assert [path.name.startswith(".out.") for path in tmp_path.iterdir()] == [True]
    monkeypatch.setattr("pliant.files._tidied", set())  # as in a process of its own
    Quantize(bits=4, tensors="linear").save_packed(model, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_model_that_overflows_cannot_be_folded_and_says_so(model):
    with torch.no_grad():
        model.network.get_parameter("model.norm.weight").fill_(float("inf"))
    assert "not finite" in Quantize(bits=4, method="awq", calibration="builtin:prose", tensors="linear").unpackable(model)
