"""Optimizers by hand, and killed runs of each."""

import pytest
import torch

from interrupted import goes_on
from pliant.data import load_tokenizer
from pliant.models import build
from pliant.train import Recipe
from pliant.train.optimizers import OPTIMIZERS
from small_text import given


def run(form, gradients, decay=0.0, lr=0.1):
    """A matrix of one row under given gradients, step by step."""
    weight = torch.nn.Parameter(torch.tensor([[1.0, -2.0]], dtype=torch.float64))
    optimizer = OPTIMIZERS.parse(form).build([{"params": [weight], "weight_decay": decay}], lr, (0.9, 0.95), 1e-8)
    for gradient in gradients:
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
    return weight.detach()[0].tolist()


def test_momentum_by_hand():
    # v = 1, then 1.9; w = 1 - 0.1 - 0.19
    assert run("sgd", [[1, 0], [1, 0]])[0] == pytest.approx(1 - 0.1 - 0.19)
    assert run({"sgd": {"momentum": 0}}, [[1, 0], [1, 0]])[0] == pytest.approx(0.8)
    # Nesterov: 1 + 0.9, then 1 + 0.9 x 1.9
    assert run({"sgd": {"nesterov": True}}, [[1, 0], [1, 0]])[0] == pytest.approx(1 - 0.19 - 0.271)


@pytest.mark.parametrize("nesterov", [False, True])
def test_without_decay_it_is_pytorchs_own(nesterov):
    weight = torch.nn.Parameter(torch.tensor([[1.0, -2.0]], dtype=torch.float64))
    reference = torch.optim.SGD([weight], lr=0.1, momentum=0.9, nesterov=nesterov)
    gradients = torch.randn(7, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64).tolist()
    for gradient in gradients:
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        reference.step()
    assert run({"sgd": {"nesterov": nesterov}}, gradients) == pytest.approx(weight.detach()[0].tolist(), rel=1e-12)


def test_lion_by_hand():
    # first: sign(0.1 g); m = 0.01 g. then g = -0.05: 0.9 x 0.01 - 0.1 x 0.05 > 0, so the step goes on in the old direction
    assert run("lion", [[1, -3], [-0.05, 3]]) == pytest.approx([1 - 0.2, -2 + 0.1 - 0.1])


@pytest.mark.parametrize("form", ["sgd", "lion", "adamw"])
def test_decay_is_apart_from_the_gradient(form):
    assert run(form, [[0, 0]] * 3, decay=0.5) == pytest.approx([0.95**3, -2 * 0.95**3])


@pytest.mark.parametrize("optimizer", ["sgd", "lion", {"sgd": {"momentum": 0.5, "nesterov": True}}])
@pytest.mark.parametrize("schedule", ["steps", "triangle", "inverse_sqrt"])
def test_a_killed_run_goes_on(text, tmp_path, optimizer, schedule):
    recipe = Recipe(lr=1e-3, steps=12, batch=4, length=16, optimizer=optimizer, schedule=schedule)
    goes_on(lambda: build("llama-16x2", load_tokenizer("ascii")), given(text), recipe, tmp_path, at=5)


def test_only_another_optimizer_is_part_of_a_recipes_form():
    plain, other = Recipe(lr=1e-3, steps=1), Recipe(lr=1e-3, steps=1, optimizer={"sgd": {"momentum": 0.5}})
    assert "optimizer" not in plain.canonical()
    assert other.canonical()["optimizer"] == {"kind": "sgd", "momentum": 0.5, "nesterov": False}
    assert Recipe(**{name: value for name, value in other.canonical().items() if name != "kind"}) == other
