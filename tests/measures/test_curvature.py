"""Predicted rises against the exact Fisher form on a tiny network, and against rises that were measured."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from pliant.errors import PliantError
from pliant.measures.curvature import predicted_rises
from pliant.models import Checkpoint


def tiny(vocabulary=11, width=8, layers=1):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": width, "intermediate_size": 12, "num_hidden_layers": layers, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=vocabulary, initializer_range=0.5, **sizes)
    return SimpleNamespace(network=LlamaForCausalLM(config), device=torch.device("cpu"), checkpoint=SimpleNamespace(address="tiny"))


def windows(count, length, vocabulary=11):
    return torch.randint(vocabulary, (count, length), generator=torch.Generator().manual_seed(1)).tolist()


def exact_rise(network, window, name, displacement):
    """1/2 d' F d with the sum over every label at every position written out."""
    logs = torch.log_softmax(network(input_ids=torch.tensor([window])).logits[0].double(), -1)
    total = 0.0
    parameter = dict(network.named_parameters())[name]
    for row in logs:
        for entry in row:
            (gradient,) = torch.autograd.grad(entry, parameter, retain_graph=True)
            total += float(entry.detach().exp()) * float((gradient.double() * displacement.double()).sum()) ** 2
    return total / (2 * len(window))


def test_drawn_labels_average_to_the_exact_fisher_form():
    model, name = tiny(), "model.layers.0.mlp.up_proj.weight"
    window = windows(1, 6)[0]
    generator = torch.Generator().manual_seed(2)
    moves = {key: torch.randn(12, 8, generator=generator) * 0.01 for key in ("a", "b")}
    found = predicted_rises(model, [window] * 1500, lambda parameter, value: moves if parameter == name else {})
    for key, move in moves.items():
        values = found[name, key]
        error = values.std(ddof=1) / np.sqrt(len(values))
        assert values.mean() == pytest.approx(exact_rise(model.network, window, name, move), abs=3.5 * error)


def test_the_prediction_is_quadratic_in_the_displacement():
    model, name = tiny(), "model.layers.0.self_attn.q_proj.weight"
    move = torch.randn(8, 8, generator=torch.Generator().manual_seed(3))
    found = predicted_rises(model, windows(3, 6), lambda parameter, value: {1: move, 2: 2 * move} if parameter == name else {})
    assert found[name, 2] == pytest.approx(4 * found[name, 1])


def test_the_model_is_left_as_it_was():
    model = tiny()
    model.network.train()
    parameter = next(model.network.parameters())
    parameter.grad = torch.ones_like(parameter)
    parameter.requires_grad_(False)
    before = parameter.detach().clone()
    predicted_rises(model, windows(2, 5), lambda name, value: {0: torch.ones_like(value)})
    assert model.network.training
    assert not parameter.requires_grad
    assert torch.equal(parameter.grad, torch.ones_like(parameter))
    assert torch.equal(parameter, before)


def test_the_ranking_is_that_of_expected_measured_rises():
    """On data drawn from the model itself the rise of the expected loss is the divergence from the unmoved model."""
    model = tiny(layers=2)
    network, text = model.network, windows(40, 12)
    generator = torch.Generator().manual_seed(4)
    moves = {n: 0.05 * p.std() * torch.randn(p.shape, generator=generator) for n, p in network.named_parameters() if p.ndim == 2}
    found = predicted_rises(model, text, lambda name, value: {0: moves[name]} if name in moves else {})
    tokens = torch.tensor(text)
    with torch.no_grad():
        logs = torch.log_softmax(network(input_ids=tokens).logits, -1)
        measured = []
        for name, move in moves.items():
            parameter = network.get_parameter(name)
            parameter += move
            moved = torch.log_softmax(network(input_ids=tokens).logits, -1)
            parameter -= move
            measured.append(float((logs.exp() * (logs - moved)).sum(-1).mean()))
    predicted = [float(found[name, 0].mean()) for name in moves]
    assert spearmanr(predicted, measured).statistic > 0.9
    assert np.sum(predicted) == pytest.approx(np.sum(measured), rel=0.25)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(bad):
    model = tiny()
    model.checkpoint = Checkpoint(name="broken")
    with torch.no_grad():
        model.network.model.layers[0].mlp.up_proj.weight[0, 0] = bad
    with pytest.raises(PliantError, match=r"broken.*not a finite number"):
        predicted_rises(model, windows(1, 6), lambda name, value: {0: value})
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.network.parameters())


def test_moves_that_are_too_large_for_a_number():
    model = tiny()
    model.checkpoint = Checkpoint(name="fine")
    with pytest.raises(PliantError, match=r"fine: the gradient of .* is not finite"):
        predicted_rises(model, windows(1, 6), lambda name, value: {0: torch.full_like(value, 1e38)} if "up_proj" in name else {})
