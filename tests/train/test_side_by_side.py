"""LoRA arms that share passes: equal to one after the other, whatever they differ in, and refused where they would not be."""

import json

import numpy as np
import pytest
import torch

from pliant.changes.restore import restored
from pliant.data import load_tokenizer
from pliant.methods import Dora, Lora, Sfa
from pliant.models import build
from pliant.objectives import Answers, Label
from pliant.train import Recipe, train
from pliant.train.factor_stack import NotTogether, SharedArm
from pliant.train.side_by_side import train_side_by_side, why_alone
from small_text import given

RECIPE = Recipe(lr=1e-2, steps=6, batch=4, length=16, warmup=2)


@pytest.fixture(scope="module")
def base():
    return build("llama-16x2", load_tokenizer("ascii"), 0, context=64)


def arms_of(folder, *different, **recipe):
    told = RECIPE.model_copy(update=recipe)
    return [
        SharedArm(told.model_copy(update={"lr": lr}), seed, (Lora(**lora),), folder / f"arm{number}")
        for number, (lr, seed, lora) in enumerate(different)
    ]


def finished(model, objective, arm, folder=None, until=None):
    """The weights after a run, its losses, and the steps that were made for it."""
    with restored(model):
        log = train(model, objective, arm.recipe, seed=arm.seed, methods=arm.methods, folder=folder, until=until, quiet=True)
        return {name: tensor.clone() for name, tensor in model.network.state_dict().items()}, log.losses


DIFFERENT = [(1e-2, 0, {"rank": 2}), (3e-3, 1, {"rank": 4, "alpha": 3.0}), (3e-2, 0, {"rank": 3, "rank_stabilised": True})]
OPTIMIZERS = [{}, {"optimizer": {"lion": {}}, "accumulate": 2}, {"optimizer": {"sgd": {"nesterov": True}}, "clip": 0.5, "batch": 3}]


@pytest.mark.parametrize("recipe", OPTIMIZERS, ids=["adamw", "lion", "sgd"])
def test_arms_side_by_side_are_the_arms_one_by_one(base, text, tmp_path, recipe):
    """Rates, seeds (and so batches), ranks and scales differ; half way they are kept, and gone on with."""
    told = Recipe.parse({**RECIPE.model_dump(mode="json", exclude_none=True), **recipe})
    arms = arms_of(tmp_path, *DIFFERENT, **{name: getattr(told, name) for name in recipe})
    before = {name: tensor.clone() for name, tensor in base.network.state_dict().items()}
    for until in (3, 6):
        train_side_by_side(base, given(text), arms, [until])
    assert all(torch.equal(before[name], tensor) for name, tensor in base.network.state_dict().items())
    assert all(parameter.requires_grad for parameter in base.network.parameters())
    for arm in arms:
        alone, losses = finished(base, given(text), arm)
        together, found = finished(base, given(text), arm, arm.folder)
        assert np.allclose(found, losses, atol=1e-5), "no step is made twice, and every loss is there"
        moved = max(float((alone[name] - before[name]).abs().max()) for name in alone)
        apart = max(float((alone[name] - together[name]).abs().max()) for name in alone)
        assert apart < min(1e-5, 0.01 * moved)


def test_at_each_point_the_network_is_the_arm_s_own(base, text, tmp_path):
    arms, found = arms_of(tmp_path, *DIFFERENT[:2]), {}

    def at(number, point):
        found[number, point] = {name: tensor.clone() for name, tensor in base.network.state_dict().items()}

    train_side_by_side(base, given(text), arms, [2, 3], at)
    assert set(found) == {(number, point) for number in range(2) for point in (2, 3)}
    for (number, point), weights in found.items():
        alone = finished(base, given(text), arms[number], until=point)[0]
        assert all(torch.allclose(weights[name], alone[name], atol=1e-5) for name in alone)


def test_a_run_begun_alone_goes_on_together_and_the_other_way_round(base, text, tmp_path):
    arms = arms_of(tmp_path, *DIFFERENT[:2])
    for arm in arms:
        finished(base, given(text), arm, arm.folder, until=2)
    train_side_by_side(base, given(text), arms, [4])
    for arm in arms:
        alone, together = finished(base, given(text), arm)[0], finished(base, given(text), arm, arm.folder)[0]
        assert all(torch.allclose(together[name], alone[name], atol=1e-5) for name in alone)


def test_answers_of_different_lengths_keep_their_arms(base, tmp_path, monkeypatch):
    """Rows are sorted by length where that pays, and batches of different seeds are of different shapes."""
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("pliant.objectives.padding.SECOND_PASS", 1)
    rows = [{"question": f"{n}?", "answer": "x" * (1 + 7 * n % 41)} for n in range(40)]
    (tmp_path / "qa.jsonl").write_text("\n".join(map(json.dumps, rows)))
    objective = Answers.parse({"data": str(tmp_path / "qa.jsonl")})
    for name, different in {"same": [(1e-2, 0, {}), (1e-3, 0, {"rank": 2})], "other": DIFFERENT[:2]}.items():
        arms = arms_of(tmp_path / name, *different, length=None, steps=3)
        train_side_by_side(base, objective, arms, [3])
        for arm in arms:
            alone, together = finished(base, objective, arm)[0], finished(base, objective, arm, arm.folder)[0]
            assert all(torch.allclose(together[key], alone[key], atol=1e-5) for key in alone), name


def test_an_arm_that_diverges_leaves_no_state_and_does_not_touch_the_others(base, text, tmp_path):
    arms = arms_of(tmp_path, (1e-2, 0, {}), (1e30, 0, {}), clip=0.0)
    train_side_by_side(base, given(text), arms, [6])
    assert (arms[0].folder / "state.safetensors").exists()
    assert not (arms[1].folder / "state.safetensors").exists()
    alone, together = finished(base, given(text), arms[0])[0], finished(base, given(text), arms[0], arms[0].folder)[0]
    assert all(torch.allclose(together[name], alone[name], atol=1e-5) for name in alone)


def test_what_would_not_be_the_same_is_refused(base, text, tmp_path):
    def why(*methods, model=base, objective=None, **recipe):
        arms = [SharedArm(RECIPE.model_copy(update=recipe if n else {}), n, one, tmp_path / str(n)) for n, one in enumerate(methods)]
        return why_alone(model, objective or given(text), arms)

    assert why((Lora(),), (Lora(rank=2),), lr=0.5) == ""
    assert "one arm" in why((Lora(),))
    for other in ((Lora(dropout=0.1),), (Dora(),), (), (Lora(), Sfa())):
        assert "more than LoRA's factors" in why((Lora(),), other)
    assert "learning rate" in why((Lora(),), (Lora(),), batch=8)
    assert "a head is trained" in why((Lora(),), (Lora(),), objective=Label.parse({"data": "builtin:digits"}))
    dropping = build("llama-16x1", load_tokenizer("ascii"), 0)
    for module in dropping.network.modules():
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.1
    assert "drops at random" in why((Lora(),), (Lora(),), model=dropping)
    arms = arms_of(tmp_path / "layers", (1e-2, 0, {}), (1e-2, 0, {"modules": "q_proj"}))
    with pytest.raises(NotTogether, match="different layers"):
        train_side_by_side(base, given(text), arms, [2])
