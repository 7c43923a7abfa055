"""InfoNCE: each row's loss by hand, on causal and masked trunks; what goes into one pass; and a killed run that goes on."""

import json
from math import exp, log

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForMaskedLM

from interrupted import goes_on
from pliant.changes import Finetune
from pliant.data import Corpus, load_tokenizer
from pliant.errors import PliantError
from pliant.models import Checkpoint, Model, build
from pliant.objectives import OBJECTIVES, Contrast, found_in
from pliant.objectives.contrast import pooled
from pliant.train import Recipe, train


@pytest.fixture
def table(tmp_path, cache):
    path = tmp_path / "pairs.jsonl"
    records = [
        {"query": f"number {n}", "positive": f"{n} it is" + "!" * (n % 4), "negatives": [f"{n + k} it is not" for k in range(1, 1 + n % 3)]}
        for n in range(12)
    ]
    path.write_text("\n".join(map(json.dumps, records)))
    return str(path)


def causal(seed=0):
    return build("llama-16x2", load_tokenizer("ascii"), seed, context=32)


def masked():
    torch.manual_seed(0)
    config = BertConfig(vocab_size=128, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    config.max_position_embeddings = 32
    return Model(BertForMaskedLM(config).eval(), load_tokenizer("ascii"), Checkpoint(name="bert"))


def embedding(model, ids, pooling):
    """Of one text alone, unpadded."""
    with torch.no_grad():
        hidden = model.network.base_model(torch.from_numpy(np.array(ids))[None]).last_hidden_state[0].double().numpy()
    found = hidden.mean(0) if pooling == "mean" else hidden[-1]
    return found / np.linalg.norm(found)


def by_hand(model, objective, examples, numbers):
    """Every row's loss: the query against each positive and negative of the batch, one by one."""
    texts = [[embedding(model, ids, objective.pooling) for ids, _ in examples.sequences.example(int(number))] for number in numbers]
    candidates = [row[1] for row in texts] + [negative for row in texts for negative in row[2:]]
    losses = []
    for row, members in enumerate(texts):
        scores = [float(members[0] @ other) / objective.temperature for other in candidates]
        there = -log(exp(scores[row]) / sum(map(exp, scores)))
        backwards = [float(members[1] @ other[0]) / objective.temperature for other in texts]
        back = -log(exp(backwards[row]) / sum(map(exp, backwards)))
        losses.append((there + back) / 2 if objective.symmetric else there)
    return losses


@pytest.mark.parametrize("make", [causal, masked])
@pytest.mark.parametrize("fields", [{}, {"pooling": "last", "temperature": 0.2}, {"symmetric": True, "temperature": 1.0}])
def test_losses_are_the_formula_by_hand(table, make, fields):
    model, objective = make(), Contrast(data=table, part="all", **fields)
    examples = objective.examples(model, None)
    batch = examples.batch(0, 7, seed=0)
    with torch.no_grad():
        found = objective.losses(model.network, batch)
    assert found.values.tolist() == pytest.approx(by_hand(model, objective, examples, batch.numbers), abs=2e-6 / objective.temperature)


def test_losses_are_the_formula_to_the_last_digit_in_double(table):
    model, objective = causal(), Contrast(data=table, part="all")
    model.network.double()
    examples = objective.examples(model, None)
    batch = examples.batch(0, 7, seed=0)
    with torch.no_grad():
        found = objective.losses(model.network, batch)
    assert found.values.tolist() == pytest.approx(by_hand(model, objective, examples, batch.numbers), abs=1e-6)


def test_the_last_token_is_the_last_real_one_on_either_side_of_padding():
    hidden = torch.arange(24.0).view(2, 4, 3)
    mask = torch.tensor([[1, 1, 0, 0], [0, 0, 1, 1]])
    assert pooled(hidden, mask, "last").tolist() == [hidden[0, 1].tolist(), hidden[1, 3].tolist()]
    assert pooled(hidden, mask, "mean").tolist() == [hidden[0, :2].mean(0).tolist(), hidden[1, 2:].mean(0).tolist()]


def test_negatives_are_those_of_one_pass(table, tmp_path):
    """Accumulation adds none: two passes of three rows are two batches of three, not one of six; and it is said so."""
    model, objective = causal(), Contrast(data=table, part="all")
    examples = objective.examples(model, None)
    batch = examples.batch(0, 6, seed=0)
    with torch.no_grad():
        parts = [objective.losses(model.network, part).values for part in batch.split(3)]
        whole = objective.losses(model.network, batch).values
    halves = [by_hand(model, objective, examples, numbers) for numbers in (batch.numbers[:3], batch.numbers[3:])]
    assert torch.cat(parts).tolist() == pytest.approx(halves[0] + halves[1], abs=1e-4)
    assert (whole > torch.cat(parts)).all(), "more to be told from is harder"
    assert "the rows of a forward pass (batch, not accumulate)" in objective.told()


def test_a_row_alone_is_refused_unless_it_has_hard_negatives(tmp_path, cache):
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps({"query": f"q{n}", "positive": f"p{n}"}) for n in range(3)))
    with pytest.raises(PliantError, match="one row went alone: give a batch of two at least"):
        train(causal(), Contrast(data=str(path), part="all"), Recipe(lr=1e-3, steps=2, batch=1, accumulate=2), quiet=True)
    path.write_text("\n".join(json.dumps({"query": f"q{n}", "positive": f"p{n}", "negative": f"n{n}"}) for n in range(3)))
    train(causal(), Contrast(data=str(path), part="all"), Recipe(lr=1e-3, steps=2, batch=1), quiet=True)


def test_a_killed_run_goes_on_bit_for_bit(table, tmp_path):
    losses = goes_on(causal, Contrast(data=table, part="all"), Recipe(lr=1e-2, steps=12, batch=4, accumulate=2), tmp_path / "state")
    assert losses[-1] < losses[0] - 0.5


def test_columns_call_for_it(table):
    found = found_in(Corpus(source=table), "all")
    assert found == Contrast(data=table, part="all") == OBJECTIVES.parse({"contrast": {"data": table, "part": "all"}})
    assert Finetune(data=table, lr=1e-3).meaning()["objective"] == "contrast"
    with pytest.raises(PliantError, match="length 33 is more than the model's context of 32"):
        found.examples(causal(), 33)
