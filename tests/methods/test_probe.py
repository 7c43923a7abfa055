"""Probes: the head moves, the trunk does not, and is in evaluation mode."""

import json

import numpy as np
import pytest
import torch

from pliant.data import load_tokenizer
from pliant.errors import PliantError
from pliant.methods import METHODS, Lora, Probe
from pliant.models import build
from pliant.objectives import Label, NextToken
from pliant.train import Recipe, train
from pliant.train.new_model import NewModel


@pytest.fixture
def learned(tmp_path, monkeypatch):
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))
    records = [{"text": f"{n} is {('red', 'green')[n % 2]}", "label": n % 2} for n in range(60)]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, records)))
    return Label(data=str(tmp_path / "data.jsonl"), part="all")


def moved(model, before):
    return {name for name, tensor in model.network.state_dict().items() if not torch.equal(tensor, before[name])}


def state(model):
    return {name: tensor.clone() for name, tensor in model.network.state_dict().items()}


def test_only_the_head_moves_and_learns(learned):
    model = build("llama-16x2", load_tokenizer("ascii"), 0, context=32)
    trunk = state(model)
    log = train(model, learned, Recipe(lr=0.3, steps=40, batch=16), methods=[Probe()], quiet=True)
    assert moved(model, {**trunk, "score.weight": torch.zeros(())}) == {"score.weight"}
    assert np.mean(log.losses[-5:]) < log.losses[0] - 0.1
    assert all(parameter.requires_grad for parameter in model.network.parameters())


def test_named_parameters_move(learned):
    model = build("bert-16x2", load_tokenizer("ascii"), 0, context=32)
    train(model, learned, Recipe(lr=1e-2, steps=1, batch=4), quiet=True)
    before = state(model)
    train(model, learned, Recipe(lr=1e-2, steps=2, batch=4), methods=[METHODS.parse({"probe": {"train": "head, *.pooler.*"}})], quiet=True)
    assert moved(model, before) == {"classifier.weight", "classifier.bias", "bert.pooler.dense.weight", "bert.pooler.dense.bias"}
    with pytest.raises(PliantError, match="no parameter is called 'clasifier'; did you mean 'classifier"):
        train(model, learned, Recipe(lr=1e-2, steps=2, batch=4), methods=[Probe(train="clasifier")], quiet=True)


def test_batch_norm_of_a_frozen_trunk_keeps_its_statistics():
    learned = Label(data="builtin:digits")
    model = NewModel(preset="resnet-8x4").build(0, learned.needs())
    train(model, learned, Recipe(lr=1e-2, steps=3, batch=8), quiet=True)
    before = state(model)
    train(model, learned, Recipe(lr=1e-2, steps=3, batch=8), methods=[Probe()], quiet=True)
    assert moved(model, before) == {"classifier.weight", "classifier.bias"}
    train(model, learned, Recipe(lr=1e-2, steps=1, batch=8), quiet=True)
    assert any("running_mean" in name for name in moved(model, before))


def test_it_works_with_any_objective(learned, tmp_path):
    (tmp_path / "text.txt").write_text("to be or not to be " * 50)
    model = build("gpt-neox-16x2", load_tokenizer("ascii"), 0, context=32)
    before = state(model)
    text = NextToken(data=str(tmp_path / "text.txt"), part="all")
    train(model, text, Recipe(lr=1e-2, steps=1, batch=2), methods=[Probe()], quiet=True)
    assert moved(model, before) == {"gpt_neox.embed_in.weight", "lm_head.weight"}  # one tensor


def test_lora_trains_the_head_of_a_classifier_beside_its_update(learned):
    model = build("llama-16x2", load_tokenizer("ascii"), 0, context=32)
    train(model, learned, Recipe(lr=1e-2, steps=1, batch=4), quiet=True)
    before = state(model)
    train(model, learned, Recipe(lr=1e-2, steps=3, batch=4), methods=[Lora(rank=2)], quiet=True)
    names = moved(model, before)
    assert "score.weight" in names
    assert {name.rsplit(".", 2)[-2] for name in names} == {
        "score",
        *(f"{part}_proj" for part in ("q", "k", "v", "o", "gate", "up", "down")),
    }
