"""Embedding-space PGD: inside its ball, costlier than chance, and leaving the model as it was."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pliant.attacks import ATTACKS, Pgd
from pliant.data import load_tokenizer
from pliant.errors import PliantError
from pliant.models import Model, build
from pliant.objectives import Batch, NextToken


@pytest.fixture
def objective(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NextToken:
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "text.jsonl"
    path.write_text("\n".join(json.dumps({"text": f"Number {number} is told here, and told again."}) for number in range(60)))
    return NextToken(data=str(path), part="all")


@pytest.fixture
def model() -> Model:
    return build("llama-16x2", load_tokenizer("ascii"), seed=0, context=32)


def batch(model: Model, objective: NextToken, rows: int = 4) -> Batch:
    return objective.examples(model, None).batch(0, rows, seed=1)


def moves(model: Model, given: Batch, attacked: Batch) -> tuple[Any, float]:
    """How far embeddings moved, (rows, length, width), and the embedding matrix's root mean square."""
    table = model.network.get_input_embeddings().weight
    embeds = model.network.get_input_embeddings()(given.inputs["input_ids"])
    return (attacked.inputs["inputs_embeds"] - embeds).detach(), float(table.detach().square().mean().sqrt())


def losses(model: Model, objective: NextToken, given: Batch) -> Any:
    with torch.no_grad():
        return objective.losses(model.network, given).values


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("steps", [0, 1, 5])
def test_every_row_stays_in_its_ball_and_a_large_step_reaches_its_border(model: Model, objective: NextToken, norm: str, steps: int) -> None:
    given = batch(model, objective)
    attack = ATTACKS.parse({"pgd": {"epsilon": 0.2, "steps": steps, "norm": norm, "step_size": 10.0}})
    found, scale = moves(model, given, attack.perturb(model, given, objective, seed=3))
    far = found.abs().amax(-1) if norm == "linf" else found.norm(dim=-1) / found.shape[-1] ** 0.5
    assert float(far.max()) <= 0.2 * scale * (1 + 1e-4)
    if steps:
        assert far == pytest.approx(torch.full_like(far, 0.2 * scale), rel=1e-3)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_loss_of_every_row_rises_more_than_at_random_and_with_steps(model: Model, objective: NextToken, norm: str) -> None:
    given = batch(model, objective, rows=8)
    clean = losses(model, objective, given)
    rises = {}
    for steps in (0, 1, 8):
        attacked = Pgd(epsilon=0.5, steps=steps, norm=norm).perturb(model, given, objective)
        rises[steps] = losses(model, objective, attacked) - clean
    assert (rises[8] > 0).all()
    assert (rises[8] > rises[0]).all()  # the control: a random point of the same ball
    assert rises[8].mean() > 3 * rises[0].abs().mean()
    assert rises[8].mean() > rises[1].mean() > rises[0].mean()


def test_without_a_budget_nothing_changes(model: Model, objective: NextToken) -> None:
    given = batch(model, objective)
    attacked = Pgd(epsilon=0, steps=2).perturb(model, given, objective)
    assert set(attacked.inputs) == {"inputs_embeds"}
    assert torch.equal(losses(model, objective, attacked), losses(model, objective, given))
    assert (attacked.targets == given.targets).all()
    assert (attacked.numbers == given.numbers).all()


def test_the_model_is_left_as_it_was(model: Model, objective: NextToken) -> None:
    """Gradients that an optimizer is gathering, frozen parameters, and each module's own mode."""
    first, frozen, *_ = model.network.parameters()
    first.grad = torch.full_like(first, 3.0)
    frozen.requires_grad_(False)
    model.network.train()
    model.network.model.layers[0].eval()
    before = model.weights()
    modes = [module.training for module in model.network.modules()]
    with torch.no_grad():  # whoever measures has gradients switched off
        attacked = Pgd(steps=2).perturb(model, batch(model, objective), objective)
    assert torch.equal(first.grad, torch.full_like(first, 3.0))
    assert all(parameter.grad is None for parameter in model.network.parameters() if parameter is not first)
    assert not frozen.requires_grad
    assert model.weights() == before
    assert [module.training for module in model.network.modules()] == modes
    assert not attacked.inputs["inputs_embeds"].requires_grad


def test_a_row_is_attacked_alike_in_any_company_and_otherwise_under_another_seed(model: Model, objective: NextToken) -> None:
    given, attack = batch(model, objective), Pgd(steps=1)
    whole = attack.perturb(model, given, objective, seed=1).inputs["inputs_embeds"]
    assert torch.equal(whole, attack.perturb(model, given, objective, seed=1).inputs["inputs_embeds"])
    for start in (0, 2):
        part = attack.perturb(model, given[start : start + 2], objective, seed=1).inputs["inputs_embeds"]
        assert part.numpy() == pytest.approx(whole[start : start + 2].numpy(), abs=1e-6)
    random = Pgd(steps=0)
    one, other = (random.perturb(model, given, objective, seed).inputs["inputs_embeds"] for seed in (1, 2))
    assert not torch.equal(one, other)


def test_what_cannot_be_attacked_is_said(model: Model, objective: NextToken) -> None:
    given = batch(model, objective)
    with pytest.raises(PliantError, match="this batch has pixels"):
        Pgd().perturb(model, replace(given, inputs={"pixels": given.targets}), objective)
    with pytest.raises(PliantError, match="epsilon"):
        Pgd(epsilon=-1)
    with torch.no_grad():
        next(parameter for name, parameter in model.network.named_parameters() if "up_proj" in name).fill_(np.nan)
    with pytest.raises(PliantError, match="gradient of the loss is not finite"):
        Pgd().perturb(model, given, objective)
