"""Changes of weights leave batch norm's statistics as they were, and put everything back; fresh statistics are taken by asking."""

from __future__ import annotations

import pytest
import torch

from pliant.changes import CHANGES
from pliant.models import ImageInput, Model, build
from pliant.models.batch_norm import norms_with_statistics, reestimate


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
