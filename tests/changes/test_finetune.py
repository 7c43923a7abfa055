"""Fine-tuning is the one training loop with the described recipe, and is undone like any change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pliant.changes import CHANGES, Finetune, parse_changes, recorded
from pliant.data import Corpus, packed
from pliant.data.table import Table
from pliant.errors import PliantError
from pliant.models import Model
from pliant.objectives import Answers, NextToken
from pliant.spec import described
from pliant.train.schedules import Constant


@pytest.fixture
def text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """About 60,000 characters in 300 documents, half of them numbers."""
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    folder = tmp_path / "text"
    folder.mkdir()
    for number in range(300):
        words = rng.choice(["the", "bird", "sang", "a", "song", "of", "seven", "days", "and", "nights"], 20)
        numbers = rng.integers(0, 1000, 25)
        (folder / f"{number:03d}.txt").write_text(" ".join(words) + ".\n" + " ".join(map(str, numbers)) + "\n")
    return str(folder)


def test_the_default_is_the_probe_of_thirty_steps(text: str, model: Model) -> None:
    change = Finetune(data=text, lr=1e-3)
    recipe = change.recipe(model)
    fields = ("steps", "batch", "length", "lr", "schedule", "warmup", "weight_decay", "clip", "accumulate")
    assert [getattr(recipe, field) for field in fields] == [30, 8, 64, 1e-3, Constant(), 0, 0.0, 1.0, 1]
    assert recipe.warmup_steps(30) == 0
    assert [recipe.rate(step, 30) for step in (0, 15, 29)] == [1e-3] * 3


def test_it_is_what_a_plain_loop_does(text: str, model: Model) -> None:
    from pliant.models.presets import build

    other: Any = build("llama-16x2", model.tokenizer, seed=0).network.train()
    tokens = packed(Corpus.parse(text), model.tokenizer)
    optimizer = torch.optim.Adam(other.parameters(), lr=3e-3, betas=(0.9, 0.95))
    for step in range(10):
        ids = torch.from_numpy(tokens.batch(step, 8, 64, seed=7))
        logits = other(input_ids=ids[:, :-1]).logits
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).backward()
        torch.nn.utils.clip_grad_norm_(other.parameters(), 1.0)
        optimizer.step()
    with Finetune(data=text, lr=3e-3, steps=10).applied(model, seed=7):
        for (name, found), expected in zip(model.network.named_parameters(), other.parameters(), strict=True):
            assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5), name


def test_it_learns_repeats_itself_and_is_undone(text: str, model: Model) -> None:
    from pliant.measures.likelihood import sequence_losses

    windows = [window.tokens for window in packed(Corpus.parse(text), model.tokenizer, "heldout").windows(64, 40)]
    before, start = model.weights(), np.concatenate(sequence_losses(model.network, windows)).mean()
    training = model.network.training
    hashes: dict[tuple[int, int], str] = {}
    change = Finetune(data=text, lr=1e-2, draws=2)
    for seed, draw in ((0, 0), (0, 1), (1, 0), (0, 0)):
        with change.applied(model, seed, draw):
            assert np.concatenate(sequence_losses(model.network, windows)).mean() < start - 1
            assert hashes.setdefault((seed, draw), model.weights()) == model.weights()
        assert model.weights() == before
    assert len(set(hashes.values())) == 3
    assert model.network.training == training
    assert change.stochastic
    assert change.draws == 2


def test_epochs_count_passes_over_the_text(text: str, model: Model) -> None:
    tokens = packed(Corpus.parse(text), model.tokenizer)
    recipe = Finetune(data=text, lr=1e-3, epochs=1.5, batch=4, accumulate=2, length=32).recipe(model)
    assert recipe.steps == round(1.5 * len(tokens) / (4 * 2 * 32))
    assert Finetune(data=text, lr=1e-3, epochs=1e-9).recipe(model).steps == 1
    whole = Finetune(data=text, lr=1e-3, epochs=2, length=None).recipe(model)
    assert whole.steps == round(2 * len(tokens) / (8 * model.context))


def test_a_rate_too_high_is_said_and_undone(text: str, model: Model) -> None:
    before = model.weights()
    with pytest.raises(PliantError, match="lower the learning rate"), Finetune(data=text, lr=10).applied(model):
        pass
    assert model.weights() == before


def test_sweeps_and_records(text: str) -> None:
    changes = parse_changes([{"finetune": {"data": text, "lr": ["1e-3", 3e-3], "steps": [10, 20]}}])
    assert [(change.canonical()["lr"], change.canonical()["steps"]) for change in changes] == [
        (r, s) for r in (1e-3, 3e-3) for s in (10, 20)
    ]
    for change in changes:
        assert CHANGES.parse(change.canonical()) == change
    (epochs,) = parse_changes([{"finetune": {"data": text, "lr": 1e-3, "epochs": 2}}])
    assert CHANGES.parse(epochs.canonical()) == epochs
    assert epochs.canonical()["steps"] is None


def test_fine_tune_then_quantize(text: str, model: Model) -> None:
    before = model.weights()
    (chain,) = parse_changes([[{"finetune": {"data": text, "lr": 1e-2, "steps": 5}}, {"quantize": {"bits": 3}}]])
    with chain.applied(model, seed=1):
        rows = model.network.get_input_embeddings().weight.detach()
        assert max(len(row.unique()) for row in rows) <= 7
    assert model.weights() == before


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lr": 1e-3, "steps": 3, "epochs": 1}, "steps or as epochs"),
        ({"lr": 0}, "lr"),
        ({}, "'lr' is missing"),
        ({"lr": 1e-3, "steps": 0.5}, "steps"),
        ({"lr": 1e-3, "lenght": 3}, "did you mean 'length'"),
        ({"lr": 1e-3, "methods": ["sham"]}, "unknown method 'sham'"),
        ({"lr": 1e-3, "length": 65}, "length 65 is more than the model's context of 64"),
        ({"lr": 1e-3, "batch": 5000}, "fewer than one batch"),
    ],
)
def test_wrong_fields_are_said(text: str, model: Model, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(PliantError, match=message), CHANGES.parse({"finetune": {"data": text, **fields}}).applied(model):
        pass


def test_missing_text_is_said(tmp_path: Path, model: Model) -> None:
    with pytest.raises(PliantError, match="nowhere"), Finetune(data=str(tmp_path / "nowhere.txt"), lr=1e-3).applied(model):
        pass


# --- answers


@pytest.fixture
def table(tmp_path, monkeypatch) -> str:
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "sums.jsonl"
    path.write_text("\n".join(json.dumps({"question": f"{n} + {n}?", "answer": f"{2 * n}."}) for n in range(40)))
    return str(path)


def test_a_table_is_learned_by_its_answers_and_says_so(table: str, model: Model) -> None:
    change = Finetune(data=table, lr=1e-2, part="all")
    assert change.learned == Answers(data=Table(source=table), part="all")
    assert change.notes() == ["sums.jsonl: a table of question and answer; answers are learned, nothing else"]
    assert change.title() == "Fine-tuning on sums.jsonl, all, 30 steps"
    assert change.recipe(model).length is None, "answers are as long as the context allows"
    before = model.weights()
    with change.applied(model):
        assert model.weights() != before
    assert model.weights() == before


def test_its_key_is_another_than_that_of_the_same_text(table: str) -> None:
    answers, text = Finetune(data=table, lr=1e-2), Finetune(data={"source": table, "field": "{question}\n{answer}"}, lr=1e-2)
    assert isinstance(text.learned, NextToken)
    assert "objective" not in answers.canonical()
    assert described(answers) != described(text)
    assert '"objective": "answers"' in described(answers)
    assert "objective" not in described(text)


def test_an_objective_is_named_in_full(table: str) -> None:
    (change,) = parse_changes([{"finetune": {"objective": {"answers": {"data": table}}, "lr": 1e-2}}])
    assert change.learned == Answers(data=Table(source=table))
    assert recorded(change.canonical_json()) == change
    assert change.trains_on == (Table(source=table),)
    with pytest.raises(PliantError, match="data or as objective"):
        Finetune(lr=1e-2)
    with pytest.raises(PliantError, match="data or as objective"):
        Finetune(data=table, objective={"answers": {"data": table}}, lr=1e-2)


def test_epochs_of_answers_count_examples(table: str, model: Model) -> None:
    assert Finetune(data=table, part="all", lr=1e-2, epochs=3, batch=4).recipe(model).steps == 30
