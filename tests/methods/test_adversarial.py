"""Adversarial training: the losses it mixes, nothing altered without a budget, and a network that withstands what it met."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from attacked_digits import Digits, trained_digits
from pliant.attacks import Pgd
from pliant.data import load_tokenizer
from pliant.errors import PliantError
from pliant.measures.robustness import Robustness
from pliant.methods import METHODS, Adversarial, MethodState, Run, check_together
from pliant.models import build
from pliant.objectives import Label, NextToken
from pliant.train import Recipe, train

ATTACK = {"pgd": {"epsilon": 0.15, "steps": 3, "step_size": 0.08}}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLIANT_CACHE", str(tmp_path_factory.getbasetemp() / "image-cache"))
        yield trained_digits()


def lost(digits: Digits, **fields: Any) -> Any:
    """The totals that a pass of the method gives, (rows,), with those of the clean and of the attacked batch."""
    method = Adversarial.parse({"attack": ATTACK, **fields})
    run = Run(digits.model, digits.objective, 10, 0, lambda step: digits.batch)
    costs = lambda batch: digits.objective.losses(digits.model.network, batch)  # noqa: E731
    attacked = Pgd.parse(ATTACK["pgd"]).perturb(digits.model, digits.batch, digits.objective)
    clean, hard = costs(digits.batch), costs(attacked)
    return method.loss(run, MethodState(), costs, digits.batch).totals, clean, hard


def test_losses_are_mixed_as_they_are_written(digits: Digits) -> None:
    digits.model.network.eval()
    for share in (0.0, 0.5, 1.0):
        found, clean, hard = lost(digits, clean=share)
        assert torch.allclose(found, share * clean.totals + (1 - share) * hard.totals, atol=1e-5)
    found, clean, hard = lost(digits, clean=1, divergence=2.0)
    p, q = (losses.output.logits.log_softmax(-1) for losses in (clean, hard))
    assert torch.allclose(found, clean.totals + 2 * torch.nn.functional.kl_div(q, p, log_target=True, reduction="none").sum(-1), atol=1e-4)
    assert (hard.totals > clean.totals).all()


def test_gradients_reach_the_weights_through_clean_and_attacked_inputs(digits: Digits) -> None:
    found, _, _ = lost(digits, clean=0.5, divergence=1.0)
    parameters = list(digits.model.network.parameters())
    gradients = torch.autograd.grad(found.sum(), parameters)
    assert all(float(gradient.abs().max()) > 0 for gradient in gradients)
    assert all(parameter.grad is None for parameter in parameters)


def trained(digits: Digits, methods: list[Any], steps: int = 60) -> Any:
    needs = digits.objective.needs()
    model = build("cnn-8x2", images=needs.images, labels=needs.labels)
    train(model, Label.parse({"data": "builtin:digits"}), Recipe(lr=5e-3, steps=steps, batch=64), methods=methods, quiet=True)
    return model


def test_without_a_budget_it_is_plain_training(digits: Digits) -> None:
    plain = trained(digits, [], 5)
    for fields in ({}, {"clean": 0.5}):
        still = trained(digits, [METHODS.parse({"adversarial": {"attack": {"pgd": {"epsilon": 0}}, **fields}})], 5)
        for one, other in zip(plain.network.parameters(), still.network.parameters(), strict=True):
            assert torch.allclose(one, other, atol=1e-5)


def test_it_withstands_what_it_was_trained_against(digits: Digits) -> None:
    measure = Robustness.parse({"data": "builtin:digits", "attack": {"pgd": {"epsilon": 0.15, "steps": 10}}, "checked": 64})
    told = [{reading.metric: float(reading.values.mean()) for reading in measure.readings(model)} for model in
            (digits.model, trained(digits, [Adversarial.parse({"attack": ATTACK})], 120))]  # fmt: skip
    assert told[1]["robust_accuracy"] > told[0]["robust_accuracy"] + 0.2
    assert told[1]["clean_accuracy"] > 0.8
    assert told[1]["missed_by_attack"] < 0.04
    assert told[1]["accuracy without a bound"] < 0.05


def test_what_does_not_go_is_one_line(digits: Digits, tmp_path: Any) -> None:
    with pytest.raises(PliantError, match="adversarial: epsilon 2 is more than a pixel's whole range"):
        trained(digits, [Adversarial.parse({"attack": {"pgd": {"epsilon": 2}}})], 2)
    with pytest.raises(PliantError, match="both decide on one thing"):
        check_together([Adversarial(), Adversarial()])
    text = tmp_path / "text.jsonl"
    text.write_text(
        "".join(f'{{"text": "a text that is long enough to be learned from, again and again, {number}"}}\n' for number in range(20))
    )
    model = build("llama-16x2", load_tokenizer("ascii"), context=16)
    log = train(model, NextToken.parse({"data": str(text), "part": "all"}), Recipe(lr=1e-3, steps=2, batch=4), quiet=True,
                methods=[Adversarial.parse({"attack": "pgd", "clean": 0.5, "divergence": 1.0})])  # fmt: skip
    assert len(log.losses) == 2
