"""An objective says what it needs of a network: training, fine-tuning and ladders put it there, and fine-tuning takes it off again."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from pliant.changes import Finetune
from pliant.data import load_tokenizer
from pliant.errors import PliantError
from pliant.models import build, load, with_head
from pliant.models.tasks import Needs
from pliant.objectives import Batch, Losses, Objective
from pliant.train import Recipe, train
from pliant.train.new_model import NewModel
from pliant.train.rung import TrainedRung


@dataclass(frozen=True)
class Parities:
    fingerprint = "parities"
    unique = 64
    row_tokens = 1.0
    chance = float(np.log(2))

    def __len__(self):
        return self.unique

    def batch(self, step, rows, seed):
        numbers = np.random.default_rng((seed, step)).integers(0, self.unique, rows)
        ids = torch.from_numpy(np.stack([numbers + 1, numbers + 1], 1))
        return Batch(numbers, {"input_ids": ids}, torch.from_numpy(numbers % 2), torch.ones(rows))


class Parity(Objective):
    """Whether a number is odd."""

    task = "sequence"
    row_tokens = 1

    def needs(self):
        return Needs("sequence", ("even", "odd"))

    def data_for(self, tokenizer):
        return Parities()

    def examples(self, model, length):
        return Parities()

    def losses(self, network, batch):
        output = network(**batch.inputs)
        return Losses(cross_entropy(output.logits, batch.targets, reduction="none"), batch.weights, output)


RECIPE = Recipe(lr=1e-2, steps=40, batch=16)


def test_a_language_model_gets_a_head_and_a_classifier_keeps_its_own():
    model = build("llama-16x2", load_tokenizer("ascii"))
    log = train(model, Parity(), RECIPE, seed=3, quiet=True)
    assert (model.task.name, model.labels) == ("sequence", ("even", "odd"))
    assert log.losses[-1] < 0.3 < log.losses[0]
    assert log.tokens == 40 * 16
    head = model.network.score.weight
    train(model, Parity(), RECIPE, quiet=True)
    assert model.network.score.weight is head
    with pytest.raises(PliantError, match="label 'even' is unknown to its head, which has no, yes"):
        train(with_head(model, "sequence", ["no", "yes"]), Parity(), RECIPE, quiet=True)


def test_a_head_that_was_needed_is_undone_bit_for_bit():
    model = build("llama-16x2", load_tokenizer("ascii"))
    network, before, facts = model.network, model.weights(), model.checkpoint
    change = Finetune.model_construct(**dict(Finetune(data="builtin:prose", lr=1e-2, steps=5)) | {"data": None, "objective": Parity()})
    with change.applied(model, seed=1) as changed:
        assert changed.task.name == "sequence"
        first = changed.weights()
    assert (model.network is network, model.weights(), model.checkpoint) == (True, before, facts)
    with change.applied(model, seed=1) as changed:
        assert changed.weights() == first
    with change.applied(model, seed=2) as changed:
        assert changed.weights() != first
    assert (model.network is network, model.weights()) == (True, before)


def test_a_ladder_of_classifiers(tmp_path):
    size = NewModel(preset="llama-16x2", tokenizer="ascii")
    rung = TrainedRung(size, Parity(), Recipe(lr=1e-2, tokens=160, batch=16), (), 0, tmp_path)
    assert (rung.steps, rung.tokens, rung.checkpoint.tokens) == (10, 160, 160)
    outline = {name: tuple(tensor.shape) for name, tensor in rung.outline().named_parameters()}
    with rung.open() as model:
        assert {name: tuple(tensor.shape) for name, tensor in model.network.named_parameters()} == outline
        assert model.checkpoint.params == rung.checkpoint.params == sum(tensor.numel() for tensor in model.network.parameters())
        assert (load(tmp_path / rung.identity).weights(), model.labels) == (model.weights(), ("even", "odd"))
