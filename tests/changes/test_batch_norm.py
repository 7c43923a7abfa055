"""Changes of weights leave batch norm's statistics as they were, and put everything back; fresh statistics are taken by asking."""

from __future__ import annotations

import pytest
import torch

from pliant.changes import CHANGES, Merge
from pliant.models import ImageInput, Model, build, load, save
from pliant.models.batch_norm import norms_with_statistics, reestimate
from pliant.models.stored_model import StoredModel


def trained(seed: int = 0) -> Model:
    """A small residual network with statistics of its own."""
    model = build("resnet-8x8", images=ImageInput((8, 8), 1), labels=["a", "b", "c"], seed=seed)
    reestimate(model.network, [{"pixel_values": pixels(seed)}])
    return model


def pixels(seed: int = 0) -> torch.Tensor:
    return torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def statistics(model: Model) -> list[torch.Tensor]:
    return [buffer.clone() for layer in norms_with_statistics(model.network) for buffer in layer.buffers()]


@pytest.mark.parametrize("form", [{"perturb": {"scale": 0.2}}, {"quantize": {"bits": 3}}, {"quantize": {"bits": 3, "tensors": "linear"}}])
def test_statistics_stay_and_all_comes_back(form: dict) -> None:
    model = trained()
    before, held = statistics(model), model.weights()
    model.network.train()
    with CHANGES.parse(form).applied(model, 0) as changed:
        assert changed.weights() != held
        assert all(torch.equal(one, other) for one, other in zip(statistics(changed), before, strict=True))
        reestimate(changed.network, [{"pixel_values": pixels()}])  # by asking
        assert not all(torch.equal(one, other) for one, other in zip(statistics(changed), before, strict=True))
    assert model.weights() == held


def test_fresh_statistics_mend_what_noise_did_to_activations() -> None:
    model = trained()
    network = model.network.eval()
    spread = {}
    with CHANGES.parse({"perturb": {"scale": 0.5}}).applied(model, 0):
        for mended in (False, True):
            if mended:
                reestimate(network, [{"pixel_values": pixels()}])
            seen: list[torch.Tensor] = []
            handle = network.trunk.blocks[-1].norm2.register_forward_hook(lambda module, inputs, output, seen=seen: seen.append(output))
            with torch.no_grad():
                network(pixel_values=pixels())
            handle.remove()
            spread[mended] = float(seen[0].var((0, 2, 3)).mean())
    assert spread[True] == pytest.approx(1, abs=0.02)
    assert abs(spread[False] - 1) > 0.1


def test_a_merge_takes_statistics_anew_where_examples_are_given(tmp_path, capsys) -> None:
    """Of the first layer they are the moments of its inputs; of the others, what the merged layers below make of the examples."""
    digits = {"label": {"data": "builtin:digits"}}
    labels = [str(digit) for digit in range(10)]
    model, other = (build("resnet-8x8", images=ImageInput((8, 8), 1), labels=labels, seed=seed) for seed in (0, 1))
    with torch.no_grad():
        for p in other.network.parameters():
            p.mul_(1.5)
    save(other, tmp_path / "other")
    save(model, tmp_path / "base")
    form = {"with": str(tmp_path / "other"), "method": "task_arithmetic", "weight": 0.5}
    plain, renewed = Merge.parse(form), Merge.parse({**form, "statistics": digits})
    before, held = statistics(model), model.weights()
    with plain.applied(model) as merged:
        assert all(torch.equal(one, other) for one, other in zip(statistics(merged), before, strict=True))
        weights = [p.clone() for p in merged.network.parameters()]
    assert "take them anew on examples with statistics" in capsys.readouterr().err
    with renewed.applied(model) as merged:
        assert all(torch.equal(one, other) for one, other in zip(merged.network.parameters(), weights, strict=True))
        first, *_ = norms_with_statistics(merged.network)
        seen: list[torch.Tensor] = []
        handle = first.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
        examples = renewed.statistics.examples(merged, None)
        merged.network.eval()
        with torch.no_grad():
            for number in range(50):
                merged.network(**examples.batch(number, 64, 0).inputs)
        handle.remove()
        assert torch.allclose(first.running_mean, torch.stack([x.mean((0, 2, 3)) for x in seen]).mean(0), atol=1e-5)
        assert torch.allclose(first.running_var, torch.stack([x.var((0, 2, 3)) for x in seen]).mean(0), rtol=1e-4)
        found = merged.weights()
    assert "batch norm" not in capsys.readouterr().err
    assert model.weights() == held
    assert renewed.rewrite(StoredModel(address=str(tmp_path / "base")), tmp_path / "out", 0) is None, "is loaded instead"
    renewed.save(load(tmp_path / "base"), tmp_path / "out")
    assert load(tmp_path / "out").weights() == found
    assert "statistics" not in plain.canonical()
