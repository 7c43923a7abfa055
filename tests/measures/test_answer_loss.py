"""The loss of answers: the objective's own, dialogue by dialogue."""

import json

import numpy as np
import pytest

from pliant.data import load_tokenizer
from pliant.errors import PliantError
from pliant.measures.answer_loss import AnswerLoss
from pliant.models import build
from pliant.objectives import Answers


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "table.jsonl"
    records = [{"question": f"how many birds sang {n} songs?", "answer": f"there were {n * n} birds"} for n in range(9)]
    path.write_text("\n".join(map(json.dumps, records)))
    return str(path)


def test_it_is_the_loss_that_the_objective_trains_on(table):
    model = build("llama-16x2", load_tokenizer("ascii"), 0, context=96)
    reading = AnswerLoss(data=table)(model)
    objective = Answers(data=table, part="all")
    batch = objective.examples(model, None).batch(0, 9, seed=0)
    losses = objective.losses(model.network, batch)
    total = float((losses.values.detach() * losses.weights).sum() / losses.weights.sum())
    assert reading.estimate().value == pytest.approx(total, rel=1e-6)
    assert reading.weights.sum() == float(batch.weights.sum()) == sum(len(f"there were {n * n} birds") for n in range(9))
    assert (reading.metric, reading.unit, reading.better) == ("answer_loss", "nats/token", "lower")


def test_by_hand_and_cut(table, capsys):
    import torch

    model = build("llama-16x2", load_tokenizer("ascii"), 0, context=96)
    reading = AnswerLoss(data=table, samples=1)(model)
    ids = torch.tensor([list(b"how many birds sang 0 songs?\nthere were 0 birds")])
    with torch.no_grad():
        logs = model.network(ids).logits[0].double().log_softmax(-1)
    expected = -logs[:-1].gather(1, ids[0, 1:, None])[:, 0][-len("there were 0 birds") :].mean()
    assert reading.values == pytest.approx(np.array([float(expected)]), rel=1e-5)
    short = build("llama-16x2", load_tokenizer("ascii"), 0, context=12)
    with pytest.raises(PliantError, match="no example is left"):
        AnswerLoss(data=table)(short)


def test_shares_are_whole_dialogues_and_together_the_reading(table):
    model = build("llama-16x2", load_tokenizer("ascii"), 0, context=96)
    measure = AnswerLoss(data=table)
    whole, parts = measure(model), [read(model)[0] for read in measure.in_shares(model, 2)]
    assert [id for part in parts for id in part.samples] == list(whole.samples)
    assert np.concatenate([part.values for part in parts]) == pytest.approx(whole.values, rel=1e-6)
    assert min(len(part.samples) for part in parts) == 4


def test_some_dialogues_are_evenly_spaced_over_the_table(table):
    model = build("llama-16x2", load_tokenizer("ascii"), 0, context=96)
    whole, some = AnswerLoss(data=table)(model), AnswerLoss(data=table, samples=3)(model)
    assert list(some.samples) == [whole.samples[number] for number in (0, 3, 6)]
    assert some.values == pytest.approx(whole.values[[0, 3, 6]], rel=1e-5)


def test_what_is_said_of_cut_dialogues_is_of_the_whole_table(table, capsys):
    model = build("llama-16x2", load_tokenizer("ascii"), 0, context=40)
    AnswerLoss(data=table, samples=2)(model)
    assert "9 of all 9 dialogues truncated, of which 2 are read" in capsys.readouterr().err
