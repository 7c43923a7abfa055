"""Forgetting events: counters on a scripted sequence, and runs that may be killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from pliant.errors import PliantError
from pliant.methods import MethodState
from pliant.models import ImageInput, Model, build
from pliant.objectives import Batch, Losses
from pliant.scores import Forgetting, Scores
from pliant.scores.forgetting import CountForgetting
from pliant.scores.journal import score_to_file
from pliant.train import state as train_state

TEN = tuple(str(number) for number in range(10))


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))


def test_events_of_a_scripted_sequence() -> None:
    """By hand: 0 is learned and kept; 1 is forgotten twice; 2 is never right in three turns; 3 is right, wrong, right: once."""
    script = {0: [0, 1, 1], 1: [1, 0, 1, 0], 2: [0, 0, 0], 3: [1, 0, 1]}
    method, state, run = CountForgetting(examples=4), MethodState(), SimpleNamespace(facts={})
    method.prepare(run, state)  # type: ignore[arg-type]
    for turn in range(4):
        numbers = np.array([number for number, answers in script.items() if turn < len(answers)])
        right = torch.tensor([script[int(number)][turn] for number in numbers])
        logits = torch.nn.functional.one_hot(1 - right, 2).float()
        batch = Batch(numbers, {}, torch.zeros(len(numbers), dtype=torch.long), torch.ones(len(numbers)))
        losses = Losses(torch.ones(len(numbers)), batch.weights, SimpleNamespace(logits=logits))
        assert method.loss(run, state, lambda _, given=losses: given, batch) is losses  # type: ignore[arg-type]
    method.finish(run, state)  # type: ignore[arg-type]
    assert run.facts["events"] == [0, 2, 3, 1]


def network() -> Model:
    return build("mlp-16x1", seed=0, images=ImageInput((8, 8), 1, (0.0,), (1.0,)), labels=TEN)


def asked(model: Model) -> Any:
    return Forgetting.source({"data": "builtin:digits", "part": "heldout"}, "--data").examples(model, None)


def test_means_over_models_and_orders_leave_models_as_they_were() -> None:
    model = network()
    before, examples = model.weights(), asked(model)
    both = Forgetting(epochs=4, lr=0.01, orders=2)([model], examples)
    again = Forgetting(epochs=4, lr=0.01, orders=2)([model, model], examples)
    one = Forgetting(epochs=4, lr=0.01)([model], examples)
    assert model.weights() == before
    assert (both.values == again.values).all()
    assert set(np.unique(2 * both.values)) <= set(range(9))
    assert ((2 * both.values - one.values) >= 0).all()
    assert both.values.max() > 0
    assert both.values.min() == 0


def test_a_killed_run_goes_on_to_the_same_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, score = network(), Forgetting(epochs=3, lr=0.01)
    examples = asked(model)
    score_to_file(score, [model], examples, tmp_path / "whole.parquet", {})

    def die(out: Path) -> None:
        def due(self: Any) -> bool:
            due.calls += 1  # type: ignore[attr-defined]
            if due.calls == 9:  # type: ignore[attr-defined]
                os.kill(os.getpid(), signal.SIGKILL)
            return True

        due.calls = 0  # type: ignore[attr-defined]
        train_state.State.due = due  # type: ignore[method-assign]
        score_to_file(score, [model], examples, out, {})

    process = multiprocessing.get_context("fork").Process(target=die, args=(tmp_path / "s.parquet",))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert list((tmp_path / "cache" / "forgetting").glob("*/state.safetensors"))
    score_to_file(score, [model], examples, tmp_path / "s.parquet", {})
    assert (tmp_path / "s.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert not list((tmp_path / "cache" / "forgetting").glob("*/state.safetensors"))
    assert Scores.read(tmp_path / "s.parquet").unit == "events"


def test_what_cannot_be_scored_is_one_line() -> None:
    with pytest.raises(PliantError, match="examples with labels that it trains on"):
        Forgetting().scoring([network()], "text")  # type: ignore[arg-type]
    with pytest.raises(PliantError, match="needs a model"):
        Forgetting().scoring([], asked(network()))
