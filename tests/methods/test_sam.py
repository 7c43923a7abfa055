"""SAM and its halves against closed forms, and the penalty that J-SAM amounts to."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import logsigmoid

from pliant.data import load_tokenizer
from pliant.errors import PliantError
from pliant.methods import METHODS, ActivationPenalty, L2Start, Lora, Method, MethodState, Run, Sam
from pliant.models import build
from pliant.objectives import Batch, Label, Losses
from pliant.train import Recipe, train
from pliant.train.loop import _compute
from pliant.train.new_model import NewModel
from small_text import given

RHO = 0.07


class Margin:
    """log(1 + exp(-t f)) of the sign t."""

    def losses(self, network, batch):
        logits = network(batch.inputs["x"])
        return Losses(-batch.weights * logsigmoid(batch.targets * logits[:, 0]), batch.weights, SimpleNamespace(logits=logits))


def gradients(method, network, x, t, weights=None, batch=8):
    """What a method leaves in `.grad`, by name, and the loss that is logged."""
    model = SimpleNamespace(network=network, device=torch.device("cpu"))
    run, state = Run(model, Margin(), 1, 0, None), MethodState()
    rows = Batch(np.arange(len(x)), {"x": x}, t, torch.ones(len(x)).double() if weights is None else weights)
    with state.undo:
        method.prepare(run, state)
        loss = _compute(run, run.network, Recipe(lr=1.0, steps=1, batch=batch), [(method, state)])(rows)
    return {name: p.grad for name, p in network.named_parameters()}, loss


@pytest.fixture
def rows():
    draw = torch.Generator().manual_seed(1)
    return torch.randn(6, 5, generator=draw).double(), torch.tensor([1.0, -1, 1, 1, -1, -1]).double()


def linear():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 1, bias=False)).double()


def two_layers():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4, bias=False), nn.Linear(4, 1, bias=False)).double()


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 3, 2, 1, 5, 1]).double()])
def test_a_linear_model_has_nothing_for_the_jacobian_and_a_shift_for_the_logit(rows, weights):
    """sigma(-t w x + rho |x|) -t x: a constant against the margin."""
    x, t = rows
    share = torch.full((6,), 1 / 6).double() if weights is None else weights / weights.sum()
    w = linear()[0].weight[0].detach()
    missing = torch.sigmoid(-t * (x @ w))
    shifted = torch.sigmoid(-t * (x @ w) + RHO * x.norm(dim=1))
    plain, uphill = (-(share * s * t) @ x for s in (missing, shifted))
    for variant, expected in (("jacobian", plain), ("example", uphill), ("logit", uphill)):
        found, loss = gradients(Sam(rho=RHO, variant=variant), linear(), x, t, weights)
        assert torch.allclose(found["0.weight"][0], expected, atol=1e-12), variant
        assert loss.item() == pytest.approx(-(share * logsigmoid(t * (x @ w))).sum().item(), rel=1e-6)


def test_jacobian_sam_of_two_layers_is_a_penalty_on_activations_and_last_weights(rows):
    x, t = rows
    network = two_layers()
    first, last = network[0].weight.detach(), network[1].weight[0].detach()
    z = x @ first.T
    missing, size = torch.sigmoid(-t * (z @ last)), x.norm(dim=1)
    jacobian = (z.square().sum(1) + last.square().sum() * size**2).sqrt()
    plain, _ = gradients(Method(), two_layers(), x, t)
    found, _ = gradients(Sam(rho=RHO, variant="jacobian"), network, x, t)
    on_z, on_v = missing * RHO / jacobian, (missing * RHO * size**2 / jacobian).mean()
    assert torch.allclose(found["0.weight"], plain["0.weight"] + (on_z[:, None] * z).T @ x / 6, atol=1e-12)
    assert torch.allclose(found["1.weight"][0], plain["1.weight"][0] + on_v * last, atol=1e-12)
    assert torch.equal(network[0].weight, first), "back to the bit"


def test_both_halves_make_the_whole_by_rows_of_one(rows):
    """<p uphill, grad F uphill>, each against autograd by hand, for one row; n-SAM of one row is 1-SAM."""
    x, t = rows[0][:1], rows[1][:1]
    network = two_layers()
    parameters = list(network.parameters())

    def answer():
        return network(x)[0, 0]

    def p():
        return -t[0] * torch.sigmoid(-t[0] * answer().detach())

    at = torch.autograd.grad(answer(), parameters), p()
    g = [at[1] * part for part in at[0]]
    norm = torch.sqrt(sum(part.square().sum() for part in g))
    with torch.no_grad():
        for weight, part in zip(parameters, g, strict=True):
            weight += RHO * part / norm
    uphill = torch.autograd.grad(answer(), parameters), p()
    for variant, expected in {
        "batch": [uphill[1] * part for part in uphill[0]],
        "example": [uphill[1] * part for part in uphill[0]],
        "logit": [uphill[1] * part for part in at[0]],
        "jacobian": [at[1] * part for part in uphill[0]],
    }.items():
        found, _ = gradients(Sam(rho=RHO, variant=variant), two_layers(), x, t)
        assert all(torch.allclose(a, b, atol=1e-10) for a, b in zip(found.values(), expected, strict=True)), variant


def test_one_step_uphill_for_all_rows_does_not_depend_on_how_they_are_accumulated(rows):
    whole, _ = gradients(Sam(rho=RHO), two_layers(), *rows)
    parts, _ = gradients(Sam(rho=RHO), two_layers(), *rows, batch=2)
    by_row, _ = gradients(Sam(rho=RHO, variant="example"), two_layers(), *rows)
    assert torch.allclose(whole["0.weight"], parts["0.weight"], atol=1e-12)
    assert not torch.allclose(whole["0.weight"], by_row["0.weight"], atol=1e-4)


def test_adaptive_steps_are_relative(rows):
    """Scaling one layer up and the next one down leaves the network and, of the adaptive step, the loss uphill."""

    def uphill(adaptive, factor):
        network, seen = two_layers(), []
        with torch.no_grad():
            network[0].weight *= factor
            network[1].weight /= factor
        network.register_forward_hook(lambda _, inputs, output: seen.append(output.detach()))
        gradients(Sam(rho=RHO, adaptive=adaptive), network, *rows)
        return seen[1]

    assert torch.allclose(uphill(True, 3.0), uphill(True, 1.0), atol=1e-10)
    assert not torch.allclose(uphill(False, 3.0), uphill(False, 1.0), atol=1e-4)


def digits(preset, *methods, steps=3, folder=None):
    objective = Label(data="builtin:digits")
    model = NewModel(preset=preset).build(0, objective.needs())
    log = train(model, objective, Recipe(lr=1e-2, steps=steps, batch=8), methods=methods, folder=folder, save_every=0, quiet=True)
    return model, log


def test_batch_norm_sees_the_weights_and_not_those_uphill():
    """Without a learning rate the statistics after SAM are those of plain training."""
    objective = Label(data="builtin:digits")
    models = []
    for methods in ((), (Sam(rho=1.0),)):
        model = NewModel(preset="resnet-8x4").build(0, objective.needs())
        train(model, objective, Recipe(lr=1e-30, steps=3, batch=8, weight_decay=0), methods=methods, quiet=True)
        models.append(dict(model.network.named_buffers()))
    assert all(torch.equal(buffer, models[1][name]) for name, buffer in models[0].items())
    with pytest.raises(PliantError, match="variant example looks at rows one by one, and batch norm"):
        digits("resnet-8x4", Sam(variant="example"))


@pytest.mark.parametrize("method", [Sam(layers="head"), Sam(variant="logit", rho=0.01), Sam(variant="jacobian", rho=0.01)])
def test_images_are_learned(method):
    _, log = digits("mlp-16x2", method, steps=25)
    assert np.mean(log.losses[-3:]) < log.losses[0] - 0.2


class Interrupt(Method):
    at: int = 99

    def after_step(self, run, state):
        if run.step == self.at:
            raise KeyboardInterrupt

    def canonical(self):
        return {"kind": self.kind}


def language(text, *methods, folder=None):
    model = build("llama-16x1", load_tokenizer("ascii"))
    recipe = Recipe(lr=1e-2, steps=4, batch=2, accumulate=2, length=16)
    log = train(model, given(text), recipe, methods=methods, folder=folder, save_every=0, quiet=True)
    return model, log


def test_it_goes_with_lora_penalties_and_kills(text, tmp_path):
    methods = (Lora(rank=2, dropout=0.2), Sam(variant="jacobian"), ActivationPenalty(gamma_z=0.1))
    whole, _ = language(text, Interrupt(), *methods)
    with pytest.raises(KeyboardInterrupt):
        language(text, Interrupt(at=1), *methods, folder=tmp_path)
    assert language(text, Interrupt(), *methods, folder=tmp_path)[0].weights() == whole.weights()
    both, _ = language(text, L2Start(strength=10.0), Sam())
    assert both.weights() != language(text, Sam())[0].weights()


class Watch(Method):
    """Keeps the first step's gradients."""

    seen: dict

    def gradients(self, run, state, compute, batch):
        loss = compute(batch)
        if not self.seen:
            self.seen.update({name: p.grad.clone() for name, p in run.parameters().items()})
        return loss


def test_the_penalty_on_activations_is_what_it_says():
    seen = [{}, {}]
    method = METHODS.parse({"activation_penalty": {"gamma_z": 0.3, "gamma_v": 0.2}})
    for found, methods in zip(seen, ((), (method,)), strict=True):
        model, _ = digits("mlp-16x1", *methods, Watch.model_construct(seen=found), steps=1)
    objective = Label(data="builtin:digits")
    model = NewModel(preset="mlp-16x1").build(0, objective.needs())
    batch, kept = objective.examples(model, None).batch(0, 8, 0), []
    model.network.classifier.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0]))
    model.network(**batch.inputs)
    weight = model.network.classifier.weight
    penalty = 0.3 * kept[0].square().sum(1).mean() + 0.2 * weight.square().sum()
    penalty.backward()
    for name, p in model.network.named_parameters():
        extra = 0.0 if p.grad is None else p.grad
        assert torch.allclose(seen[1][name], seen[0][name] + extra, atol=1e-6), name
    assert not model.network.classifier._forward_pre_hooks or len(model.network.classifier._forward_pre_hooks) == 1


def test_a_head_that_is_not_trained_is_one_line(text):
    with pytest.raises(PliantError, match="no weight of the head is trained"):
        language(text, Lora(), Sam(layers="head"))
