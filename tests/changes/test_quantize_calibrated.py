"""Quantize with gptq and awq on whole networks."""

import pytest
import torch

from pliant.changes import Quantize
from pliant.data.tokenizer import load_tokenizer
from pliant.errors import PliantError
from pliant.models.presets import build
from pliant.quantization import calibration as calibration_module
from pliant.quantization.gptq import factor, gptq
from pliant.quantization.grid import round_to_grid


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    words = ["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog", "while", "seven", "wizards", "boxed", "daily"]
    generator = torch.Generator().manual_seed(0)
    path.write_text("\n\n".join(" ".join(words[int(i)] for i in torch.randint(len(words), (60,), generator=generator)) for _ in range(400)))
    return str(path)


@pytest.fixture
def model():
    return build("llama-16x2", load_tokenizer("ascii"), seed=0, context=64)


def quantize(corpus, **fields):
    return Quantize(**{"bits": 3, "method": "gptq", "calibration": corpus, "samples": 32, "length": 64, **fields})


def test_each_layer_is_what_gptq_makes_of_it(model, corpus):
    change = quantize(corpus, tensors="linear")
    found = calibration_module.calibration_of(model, change.calibration, 32, 64)
    name = "model.layers.1.self_attn.k_proj"
    weight = model.network.get_submodule(name).weight.detach().clone()
    expected = gptq(weight, factor(found.inputs(name).moments), 3).values
    with change.applied(model) as changed:
        assert torch.allclose(changed.network.get_submodule(name).weight, expected, atol=1e-6)
    assert torch.equal(model.network.get_submodule(name).weight, weight)


def test_embeddings_are_rounded_to_nearest(model, corpus):
    table = model.network.get_input_embeddings().weight
    expected = round_to_grid(table.detach(), 3)
    with quantize(corpus, tensors="matrices").applied(model):
        assert torch.allclose(table, expected, atol=1e-6)


def test_one_calibration_serves_a_sweep(model, corpus, monkeypatch):
    calls = []
    original = calibration_module.calibrate
    monkeypatch.setattr(calibration_module, "calibrate", lambda *args: calls.append(1) or original(*args))
    calibration_module._kept.clear()
    for fields in ({"bits": 3}, {"bits": 4}, {"method": "awq"}, {"group": 8}, {"group": "tensor"}, {"act_order": True}):
        with quantize(corpus, tensors="linear", **fields).applied(model):
            pass
    assert len(calls) == 1
    with torch.no_grad():
        next(model.network.parameters()).mul_(2)
    with quantize(corpus, tensors="linear").applied(model):
        pass
    assert len(calls) == 2


def test_exceptions_change_the_bits_of_what_they_name(model, corpus):
    name = "model.layers.0.mlp.down_proj.weight"
    weight = model.network.get_parameter(name)
    before = weight.detach().clone()
    with quantize(corpus, exceptions={"*.layers.0.mlp.*": 8}).applied(model):
        assert max(len(row.unique()) for row in weight.detach()) > 8
        assert max(len(row.unique()) for row in model.network.get_parameter("model.layers.1.mlp.down_proj.weight").detach()) <= 8
    with quantize(corpus, exceptions={"*.layers.0.mlp.*": 16}).applied(model):
        assert torch.equal(weight, before)


def test_without_text_and_with_too_little_text_it_says_so(model, corpus, tmp_path):
    with pytest.raises(PliantError, match="needs `calibration`"), Quantize(bits=4, method="gptq").applied(model):
        pass
    with pytest.raises(PliantError, match="give more text"), quantize(corpus, method="awq", samples=10**6).applied(model):
        pass


def test_what_cannot_be_calibrated_is_named_and_skipped_only_when_asked(model, corpus):
    odd = torch.nn.Parameter(torch.randn(8, 8, generator=torch.Generator().manual_seed(0)))
    model.network.model.layers[0].mlp.register_parameter("experts", odd)
    before = odd.detach().clone()
    with pytest.raises(PliantError, match=r"mlp\.experts: method gptq cannot see"), quantize(corpus).applied(model):
        pass
    with quantize(corpus, uncalibrated="skip").applied(model):
        assert torch.equal(odd, before)
    with quantize(corpus, uncalibrated="nearest").applied(model):
        assert torch.allclose(odd, round_to_grid(before, 3), atol=1e-6)


def test_an_untied_head_is_calibrated_too(corpus):
    model = build("gpt-neox-16x2", load_tokenizer("ascii"), seed=0, context=64)
    head = torch.nn.Parameter(model.network.get_input_embeddings().weight.detach().clone())
    model.network.get_output_embeddings().weight = head
    nearest = round_to_grid(head.detach(), 3)
    with quantize(corpus).applied(model):
        assert not torch.allclose(head, nearest, atol=1e-4)
        assert max(len(row.unique()) for row in head.detach()) <= 8


def test_activations_and_cache_are_rounded_at_evaluation_only(model):
    tokens = torch.randint(128, (2, 40), generator=torch.Generator().manual_seed(0))
    network = model.network.eval()
    gaps = {}
    with torch.no_grad():
        plain, name = network(tokens).logits, model.weights()
        for bits in (3, 6, 16):
            for field in ("activations", "kv"):
                with Quantize(bits=16, **{field: bits}).applied(model) as changed:
                    gaps[field, bits] = float((changed.network(tokens).logits - plain).abs().max())
                    assert changed.weights() != name
        assert torch.equal(network(tokens).logits, plain)
    assert model.weights() == name
    for field in ("activations", "kv"):
        assert gaps[field, 3] > gaps[field, 6] > gaps[field, 16]
        assert 0 < gaps[field, 16] < 1e-2 * gaps[field, 3]


def test_the_loss_sees_the_rounded_cache(model, corpus):
    from pliant.measures import Loss

    loss = Loss(data=corpus, samples=20)
    before = loss(model)
    with Quantize(bits=16, kv=3).applied(model) as changed:
        after = loss(changed)
    assert float(abs((after - before).values).max()) > 1e-4


def test_collecting_again_sees_the_rounded_blocks(model, corpus):
    """Block by block by hand: calibrate the network as it is by now, round one block, and so on."""
    change = quantize(corpus, tensors="linear", recollect=True)
    with change.applied(model) as changed:
        found = {name: tensor.clone() for name, tensor in changed.network.named_parameters()}
    windows = calibration_module.windows_of(model, change.calibration, 32, 64)
    network = model.network
    for number in range(2):
        for layers, inputs in calibration_module.calibrate(model, windows).groups():
            for layer in layers:
                if f".{number}." in layer:
                    weight = network.get_submodule(layer).weight
                    with torch.no_grad():
                        weight.copy_(gptq(weight.detach(), factor(inputs.moments), 3).values)
                    assert torch.allclose(found[f"{layer}.weight"], weight, atol=1e-4)
    once = quantize(corpus, tensors="linear")
    with once.applied(build("llama-16x2", load_tokenizer("ascii"), seed=0, context=64)) as other:
        assert not torch.allclose(
            other.network.get_submodule("model.layers.1.mlp.down_proj").weight, found["model.layers.1.mlp.down_proj.weight"]
        )
