"""A reference model trained in the command that scores: on documents that then have no score, and going on after a kill."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from pliant.data import Corpus
from pliant.errors import PliantError
from pliant.objectives import NextToken
from pliant.scores.reference import MOST, Reference
from pliant.train import state as train_state

WANTED = Reference(parameters=9000, tokens=12_000, tokenizer="ascii", context=32)


@pytest.fixture(autouse=True)
def text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NextToken:
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))
    told = [f"Story {number}: once there were {number * 7} birds, and {number * 3} of them sang. " * 2 for number in range(200)]
    (tmp_path / "text.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in told))
    return NextToken(data=Corpus(source=str(tmp_path / "text.jsonl"), field=None), part="all")


@pytest.mark.parametrize("parameters", [9_000, 2_000_000, 100_000_000])
def test_the_network_is_about_as_large_as_asked_for(parameters: int) -> None:
    assert 0.6 < Reference(parameters, 1).network().counts()[0] / parameters < 1.6


def test_a_killed_command_trains_on_to_the_same_model(text: NextToken, tmp_path: Path) -> None:
    whole, ids, told = WANTED.trained(text, tmp_path / "whole")
    assert 0 < len(ids) <= MOST * 200 + 1

    def die() -> None:
        def due(self: Any) -> bool:
            if self.calls == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            self.calls += 1
            return True

        train_state.State.calls = 0  # type: ignore[attr-defined]
        train_state.State.due = due  # type: ignore[method-assign]
        WANTED.trained(text, tmp_path / "killed")

    process = multiprocessing.get_context("fork").Process(target=die)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert (tmp_path / "killed" / "training" / "state.safetensors").exists()
    assert not (tmp_path / "killed" / "model").exists()
    again, others, same = WANTED.trained(text, tmp_path / "killed")
    assert (again.weights(), others, same) == (whole.weights(), ids, told)
    with pytest.raises(PliantError, match="the reference of other data or settings"):
        Reference(9000, 11_000, "ascii", 32).trained(text, tmp_path / "killed")
