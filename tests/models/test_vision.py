"""The image networks that transformers does not have: their shape, transformers' own saving and loading, and batch norm's statistics."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoModelForImageClassification

from pliant.errors import PliantError
from pliant.models.batch_norm import norms_with_statistics, reestimate
from pliant.models.checkpoint import Checkpoint
from pliant.models.model import Model
from pliant.models.modules import head_weights, select
from pliant.models.vision import register
from pliant.models.vision.cnn import SmallCnnConfig, SmallCnnForImageClassification
from pliant.models.vision.mlp import PixelMlpConfig, PixelMlpForImageClassification
from pliant.models.vision.resnet import CifarResNetConfig, CifarResNetForImageClassification

register()
TEN = {number: f"class {number}" for number in range(10)}


def networks():
    torch.manual_seed(0)
    return [
        CifarResNetForImageClassification(CifarResNetConfig(depth=8, width=4, id2label=TEN)),
        SmallCnnForImageClassification(SmallCnnConfig(width=4, depth=2, id2label=TEN)),
        PixelMlpForImageClassification(PixelMlpConfig(image_size=(8, 6), num_channels=1, width=32, depth=2, id2label=TEN)),
    ]


def images(network, rows: int = 4, seed: int = 1) -> torch.Tensor:
    config = network.config
    return torch.randn(rows, config.num_channels, *config.sides, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("depth", "width"), [(20, 16), (32, 16), (8, 4)])
def test_a_residual_network_has_the_parameters_that_its_paper_counts(depth: int, width: int) -> None:
    with torch.device("meta"):
        network = CifarResNetForImageClassification(CifarResNetConfig(depth=depth, width=width, id2label=TEN))
    n, norm = (depth - 2) // 6, 2
    convolutions = 3 * width + 2 * n * width**2  # in 3 x 3 kernels
    for channels in (2 * width, 4 * width):
        convolutions += channels * channels // 2 + (2 * n - 1) * channels**2
    norms = width + 2 * n * (width + 2 * width + 4 * width)
    expected = 9 * convolutions + norm * norms + 4 * width * 10 + 10
    assert sum(p.numel() for p in network.parameters()) == expected
    if (depth, width) == (20, 16):
        assert round(expected / 1e6, 2) == 0.27
    layers = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert len(layers) == depth


def test_a_shortcut_halves_the_sides_and_adds_empty_channels() -> None:
    network = networks()[0]
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if "norm2" in name:
                weight.zero_()  # the branches say nothing: what comes out is the stem's output, every other place of it
    network.eval()
    x = images(network)
    stem = network.trunk.norm(network.trunk.conv(x)).relu()
    features = network.trunk(x)
    kept = stem[:, :, ::4, ::4].mean((2, 3))
    assert torch.allclose(features[:, 6:10], kept, atol=1e-6)  # 4 -> 8 channels puts 2 before them, 8 -> 16 another 4
    assert features[:, :6].abs().max() == features[:, 10:].abs().max() == 0


@pytest.mark.parametrize("number", range(3))
def test_transformers_saves_and_loads_them_with_all_that_they_hold(number: int, tmp_path: Path) -> None:
    network = networks()[number]
    network.train()
    network(pixel_values=images(network, 16), labels=torch.arange(16) % 10).loss.backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in network.parameters())
    network.eval()
    network.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"].startswith("pliant-")
    assert (tmp_path / "model.safetensors").exists()
    again, found = AutoModelForImageClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(found.values())
    assert torch.equal(again.eval()(pixel_values=images(network)).logits, network(pixel_values=images(network)).logits)
    assert Model(again, None, Checkpoint(name="x")).weights() == Model(network, None, Checkpoint(name="x")).weights()
    assert head_weights(network) == {"classifier.weight", "classifier.bias"}
    assert "classifier.weight" not in select(network, "linear")
    assert again.config.id2label == TEN


def test_the_loss_is_the_mean_over_rows() -> None:
    network = networks()[2].eval()
    labels = torch.tensor([0, 3, 9, 3])
    answer = network(pixel_values=images(network), labels=labels)
    expected = -torch.log_softmax(answer.logits, -1)[range(4), labels].mean()
    assert torch.allclose(answer.loss, expected)


def test_the_content_hash_knows_the_running_statistics() -> None:
    network = networks()[0]
    model = Model(network, None, Checkpoint(name="x"))
    before = model.weights()
    network.eval()(pixel_values=images(network))
    assert model.weights() == before  # evaluation leaves them alone
    network.train()(pixel_values=images(network))
    assert model.weights() != before


def test_statistics_taken_anew_are_those_of_the_examples() -> None:
    network = networks()[0].train()
    for step in range(3):
        network(pixel_values=images(network, 8, step) * 3)
    batches = [{"pixel_values": images(network, 16, seed)} for seed in (7, 8, 9)]
    network.eval()
    dropped = {name: p.clone() for name, p in network.named_parameters()}
    reestimate(network, batches)
    first = network.trunk.norm
    means, variances = [], []
    for batch in batches:
        outputs = network.trunk.conv(batch["pixel_values"])
        means.append(outputs.mean((0, 2, 3)))
        variances.append(outputs.var((0, 2, 3)))
    assert torch.allclose(first.running_mean, torch.stack(means).mean(0), atol=1e-6)
    assert torch.allclose(first.running_var, torch.stack(variances).mean(0), rtol=1e-5)
    assert all(torch.equal(p, dropped[name]) for name, p in network.named_parameters())
    assert not network.training
    assert {layer.momentum for layer in norms_with_statistics(network)} == {0.1}


def test_with_one_batch_the_network_evaluates_as_it_trains() -> None:
    network = networks()[0]
    x = images(network, 64)
    reestimate(network, [{"pixel_values": x}])
    with torch.no_grad():
        evaluated = network.eval()(pixel_values=x).logits
        trained = network.train()(pixel_values=x).logits
    assert torch.allclose(evaluated, trained, atol=0.05 * float(trained.std()))  # but for the variance's n / (n - 1)


def test_averaged_weights_need_their_own_statistics() -> None:
    """Of two states that are one network with channels in another order, the average is neither; fresh statistics mend part of it."""
    one, other = networks()[0], networks()[0]
    for network, seed in ((one, 1), (other, 2)):
        torch.manual_seed(seed)
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.3) if parameter.ndim > 1 else None
        reestimate(network, [{"pixel_values": images(network, 64, 3)}])
    with torch.no_grad():
        for name, tensor in one.state_dict().items():
            if tensor.is_floating_point():
                tensor.add_(other.state_dict()[name]).div_(2)
    spreads = []
    for mend in (False, True):
        if mend:
            reestimate(one, [{"pixel_values": images(one, 64, 3)}])
        deep = one.trunk.blocks[-1].norm2
        seen: list[torch.Tensor] = []
        handle = deep.register_forward_hook(lambda module, inputs, output, seen=seen: seen.append(output))
        one.eval()(pixel_values=images(one, 64, 3))
        handle.remove()
        spreads.append(float(seen[0].detach().var((0, 2, 3)).mean()))
    assert spreads[0] < 0.7  # the average of two networks' activations is too small for their statistics
    assert spreads[1] == pytest.approx(1, abs=0.02)


def test_networks_without_statistics_are_left_alone_and_nothing_is_no_example() -> None:
    reestimate(networks()[2], iter(()))
    with pytest.raises(PliantError, match="give at least one batch"):
        reestimate(networks()[0], [])
