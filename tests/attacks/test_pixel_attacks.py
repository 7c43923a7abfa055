"""Attacks on pixels: within budget in eight bits, textbook steps, nearer to a target, and one clear line for what means nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from attacked_digits import Digits
from pliant.attacks import ATTACKS, Bim, Pgd, RandomSigns
from pliant.attacks.ball import Ball
from pliant.errors import PliantError
from pliant.models import Model
from pliant.objectives import Batch


def levels(model: Model, batch: Batch) -> Any:
    """(rows, channels x height x width) what a file would hold, 0 to 255, not yet rounded."""
    form = model.images
    return ((batch.inputs["pixel_values"] * form.std[0] + form.mean[0]) * 255).flatten(1)


def moved(digits: Digits, attack: Any, seed: int = 0) -> tuple[Any, Any]:
    attacked = attack.perturb(digits.model, digits.batch, digits.objective, seed)
    return levels(digits.model, attacked), levels(digits.model, attacked) - levels(digits.model, digits.batch)


def logits(digits: Digits, batch: Batch) -> Any:
    with torch.no_grad():
        return digits.model.network(**batch.inputs).logits


@pytest.mark.parametrize("epsilon", [0.0, 1 / 255, 8 / 255, 0.15, 1.0])
@pytest.mark.parametrize("kind", ["pgd", "bim", "random_signs"])
def test_results_are_eight_bit_images_within_the_budget(digits: Digits, kind: str, epsilon: float) -> None:
    found, away = moved(digits, ATTACKS.parse({kind: {"epsilon": epsilon}}))
    assert found.numpy() == pytest.approx(found.round().numpy(), abs=1e-3)
    assert 0 <= float(found.round().min()) <= float(found.round().max()) <= 255
    assert float(away.round().abs().max()) <= epsilon * 255 + 1e-9
    assert epsilon in (0, 1) or float(away.round().abs().max()) == int(epsilon * 255 + 1e-9)


@pytest.mark.parametrize("kind", ["pgd", "random_signs"])
def test_in_a_round_ball_the_whole_image_counts(digits: Digits, kind: str) -> None:
    found, away = moved(digits, ATTACKS.parse({kind: {"epsilon": 0.8, "norm": "l2"}}))
    assert found.numpy() == pytest.approx(found.round().numpy(), abs=1e-3)
    far = away.round().norm(dim=1) / 255
    assert float(far.max()) <= 0.8
    assert kind == "random_signs" or float(far.min()) > 0.7  # every image is worth the whole way


def test_the_steps_are_those_of_a_textbook(digits: Digits) -> None:
    """Madry's loop written out: start, gradient sign, clip to the ball, clip to black and white; only then rounded."""
    model, form = digits.model, digits.model.images
    attack = Pgd(epsilon=0.1, steps=6, step_size=0.03)
    origin = levels(model, digits.batch).round() / 255
    start = Ball("linf", 0.1).random(origin[:, None], [f"3 {number}" for number in digits.batch.numbers])[:, 0]
    x = (origin + start).clamp(0, 1)
    shape = digits.batch.inputs["pixel_values"].shape
    for _ in range(6):
        x.requires_grad_(True)
        answers = model.network((x.view(shape) - form.mean[0]) / form.std[0]).logits
        (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(answers, digits.batch.targets, reduction="sum"), x)
        x = (origin + (x.detach() + 0.03 * gradient.sign() - origin).clamp(-0.1, 0.1)).clamp(0, 1)
    found = levels(model, attack.perturb(model, digits.batch, digits.objective, 3))
    assert float(((found - x * 255).abs() <= 0.502).float().mean()) > 0.995  # but where a sum in another order turned a sign


def test_one_step_of_bim_is_the_fast_gradient_sign(digits: Digits) -> None:
    model, epsilon = digits.model, 12 / 255
    pixels = digits.batch.inputs["pixel_values"].clone().requires_grad_(True)
    loss = torch.nn.functional.cross_entropy(model.network(pixels).logits, digits.batch.targets, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, pixels)
    expected = (levels(model, digits.batch) + 12 * gradient.flatten(1).sign()).clamp(0, 255)
    found, _ = moved(digits, Bim(epsilon=epsilon, steps=1))
    assert found.numpy() == pytest.approx(expected.numpy(), abs=1e-3)
    again, _ = moved(digits, Bim(epsilon=epsilon, steps=1), seed=9)
    assert torch.equal(found, again)
    gathered, _ = moved(digits, Bim(epsilon=epsilon, steps=1, momentum=1.0))
    assert torch.equal(found, gathered)  # there is nothing to gather before the second step


def test_more_budget_steps_and_restarts_find_more(digits: Digits) -> None:
    def right(attack: Any) -> int:
        answers = logits(digits, attack.perturb(digits.model, digits.batch, digits.objective))
        return int((answers.argmax(1) == digits.batch.targets).sum())

    clean = int((logits(digits, digits.batch).argmax(1) == digits.batch.targets).sum())
    by_epsilon = [right(Pgd(epsilon=epsilon, steps=10)) for epsilon in (0, 0.05, 0.15, 0.5)]
    assert clean > 40
    assert by_epsilon == sorted(by_epsilon, reverse=True)
    assert by_epsilon[0] == clean
    assert by_epsilon[-1] <= 2
    assert right(RandomSigns(epsilon=0.15)) > right(Pgd(epsilon=0.15, steps=10)) + 10
    assert right(Pgd(epsilon=0.1, steps=3, restarts=6)) <= right(Pgd(epsilon=0.1, steps=3))


def test_of_several_starts_each_row_keeps_the_furthest(digits: Digits) -> None:
    def margin(attack: Any) -> Any:
        answers = logits(digits, attack.perturb(digits.model, digits.batch, digits.objective))
        own = answers.gather(1, digits.batch.targets[:, None])[:, 0]
        return answers.scatter(1, digits.batch.targets[:, None], -1e9).amax(1) - own

    one, three = margin(Pgd(epsilon=0.1, steps=2)), margin(Pgd(epsilon=0.1, steps=2, restarts=3))
    assert (three >= one - 1e-5).all()
    assert (three > one + 1e-4).any()


def test_with_a_target_all_come_nearer_to_it(digits: Digits) -> None:
    target = digits.model.labels[3]
    plain = logits(digits, digits.batch).softmax(1)[:, 3]
    for attack in (Pgd(epsilon=0.2, steps=20, target=target), Bim(epsilon=0.2, steps=20, target=target)):
        after = logits(digits, attack.perturb(digits.model, digits.batch, digits.objective)).softmax(1)[:, 3]
        assert (after >= plain - 1e-6).all()
        assert float((after > 0.5).float().mean()) > 0.5 > float((plain > 0.5).float().mean())


def test_the_model_is_left_as_it_was_and_trains_nothing(digits: Digits) -> None:
    before = digits.model.weights()
    wanted = [parameter.requires_grad for parameter in digits.model.network.parameters()]
    Pgd(steps=2).perturb(digits.model, digits.batch, digits.objective)
    assert digits.model.weights() == before
    assert [parameter.requires_grad for parameter in digits.model.network.parameters()] == wanted
    assert all(parameter.grad is None for parameter in digits.model.network.parameters())


def test_a_row_is_attacked_alike_in_any_company(digits: Digits) -> None:
    attack = Pgd(epsilon=0.1, steps=3)
    whole = attack.perturb(digits.model, digits.batch, digits.objective, 1)
    part = attack.perturb(digits.model, digits.batch[10:12], digits.objective, 1)
    same = levels(digits.model, part).round() == levels(digits.model, whole).round()[10:12]
    assert float(same.float().mean()) > 0.97  # a sum in another order may turn a sign where the gradient is nothing


def test_what_means_nothing_is_one_line(digits: Digits) -> None:
    def attacked(attack: Any, batch: Batch = digits.batch) -> None:
        attack.perturb(digits.model, batch, digits.objective)

    with pytest.raises(PliantError, match=r"epsilon 1\.5 is more than a pixel's whole range"):
        attacked(Pgd(epsilon=1.5))
    with pytest.raises(PliantError, match=r"epsilon 0\.001 moves no eight-bit pixel"):
        attacked(Bim(epsilon=0.001))
    with pytest.raises(PliantError, match="label 'a cat' is unknown to its head"):
        attacked(Pgd(target="a cat"))
    between = {"pixel_values": digits.batch.inputs["pixel_values"] + 0.003}
    with pytest.raises(PliantError, match="no eight-bit values"):
        attacked(Pgd(), replace(digits.batch, inputs=between))
    with pytest.raises(PliantError, match="no eight-bit values"):
        attacked(Pgd(), replace(digits.batch, inputs={"pixel_values": digits.batch.inputs["pixel_values"] * float("nan")}))
