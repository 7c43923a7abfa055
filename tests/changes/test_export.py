"""Packed weights: transformers must read back exactly what was simulated."""

import json

import pytest
import torch

from pliant.changes import Quantize
from pliant.changes.export import save_packed
from pliant.data.tokenizer import load_tokenizer
from pliant.errors import PliantError
from pliant.models import load, save
from pliant.models.presets import build

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
    save_packed(change, model, tmp_path / "packed")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "packed")
    tokens = torch.randint(128, (3, 20), generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), change.applied(model) as changed:
        expected = changed.network(tokens).logits
        assert torch.allclose(loaded(tokens).logits, expected, atol=1e-5)
    with torch.no_grad():
        assert not torch.allclose(model.network(tokens).logits, expected, atol=1e-3) or bits == 8


def test_packed_weights_are_loaded_as_ordinary_ones_that_can_be_changed_again(model, tmp_path):
    change = Quantize(bits=4, tensors="linear")
    save_packed(change, model, tmp_path / "packed")
    loaded = load(tmp_path / "packed")
    with change.applied(model):
        expected = {name: weight.clone() for name, weight in model.network.named_parameters()}
    found = dict(loaded.network.named_parameters())
    assert set(found) == set(expected)
    for name, weight in expected.items():
        assert torch.allclose(found[name], weight, rtol=1e-6, atol=1e-7), name
    save(loaded, tmp_path / "plain")
    assert load(tmp_path / "plain").weights() == loaded.weights()


def test_weights_packed_in_a_way_that_nobody_unpacks_are_refused(model, tmp_path):
    save(model, tmp_path / "packed")
    config = json.loads((tmp_path / "packed" / "config.json").read_text())
    (tmp_path / "packed" / "config.json").write_text(json.dumps(config | {"quantization_config": {"quant_method": "awq"}}))
    with pytest.raises(PliantError, match=r"packed \(awq\)"):
        load(tmp_path / "packed")


def test_the_packed_file_is_smaller(model, tmp_path):
    from safetensors.torch import load_file

    save_packed(Quantize(bits=4, tensors="linear"), model, tmp_path / "packed")
    stored = load_file(tmp_path / "packed" / "model.safetensors")
    name = "model.layers.0.mlp.down_proj."
    assert stored[f"{name}weight_packed"].numel() * 32 == model.network.get_parameter(f"{name}weight").numel() * 4
    assert f"{name}weight" not in stored


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"method": "awq", "calibration": "builtin:prose"}, "stretches"),
        ({"scheme": "asymmetric"}, "asymmetric"),
        ({"exceptions": {"*": 3}}, "one number of bits"),
    ],
)
def test_what_the_format_cannot_hold_is_refused(model, tmp_path, fields, words):
    with pytest.raises(PliantError, match=words):
        save_packed(Quantize(bits=4, tensors="linear", **fields), model, tmp_path / "packed")
    assert not (tmp_path / "packed").exists()


def test_a_folder_with_something_in_it_is_left_alone(model, tmp_path):
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(PliantError, match="not empty"):
        save_packed(Quantize(bits=4), model, tmp_path)
    assert (tmp_path / "mine").read_text() == "precious"


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_full_range_grid_is_the_format_s_own(bits):
    from compressed_tensors.quantization import QuantizationArgs
    from compressed_tensors.quantization.utils import calculate_qparams

    from pliant.rounding import fit_grid

    weight = torch.randn(6, 40, generator=torch.Generator().manual_seed(0))
    scale, zero = calculate_qparams(weight.amin(-1), weight.amax(-1), QuantizationArgs(num_bits=bits, symmetric=True))
    assert torch.allclose(1 / fit_grid(weight, bits, "full_range").scale[:, 0], scale, rtol=1e-6)
    assert (zero == 0).all()
