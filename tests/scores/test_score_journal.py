"""Scoring in parts: the same numbers as at once, and a process killed at any moment loses no part and scores none twice."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pliant.data import load_tokenizer
from pliant.errors import PliantError
from pliant.models import ImageInput, Model, build
from pliant.objectives import NextToken
from pliant.scores import SCORES, Perplexity, Score, Scores, context_need, el2n, journal, knownness, perplexity
from pliant.scores.journal import score_to_file

TEXTS = [f"Number {number} is told. " * (1 + number % 6) for number in range(60)]


@pytest.fixture
def scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Model, Any]:
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(perplexity, "PART", 400)
    (tmp_path / "text.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in [*TEXTS, "x"]))
    model = build("llama-16x1", load_tokenizer("ascii"), 0, context=32)
    return model, NextToken(data=str(tmp_path / "text.jsonl"), part="all").examples(model, None)  # type: ignore[arg-type]


def write(model: Model, examples: Any, out: Path, score: Score | None = None) -> Any:
    return score_to_file(score or Perplexity(), [model], examples, out, {"content": "c"})


def test_parts_are_whole_documents_and_all_of_them() -> None:
    for lengths in ([5, 1, 700, 399, 1, 1], [1], [1000, 1000]):
        offsets = np.append(0, np.cumsum(lengths))
        starts = perplexity.parts(offsets)
        assert (starts[0], starts[-1]) == (0, len(lengths))
        assert (np.diff(starts) > 0).all()


def test_in_parts_as_at_once(scored: Any, tmp_path: Path) -> None:
    model, examples = scored
    assert len(Perplexity().scoring([model], examples).work) > 5
    write(model, examples, tmp_path / "s.parquet")
    found, whole = Scores.read(tmp_path / "s.parquet"), Perplexity()([model], examples)
    assert list(found.ids) == list(whole.ids)
    assert found.values == pytest.approx(whole.values, rel=1e-6)
    assert (found.tokens == whole.tokens).all()
    assert (found.score, found.models, found.data, found.content) == (whole.score, whole.models, whole.data, "c")
    assert [path.name for path in tmp_path.glob("s.parquet*")] == ["s.parquet"]


def killed(monkeypatch: pytest.MonkeyPatch, scored: Any, out: Path, call: int, score: Score | None = None) -> None:
    """Score in a process that is killed at its `call`th write, half of which is on the disk."""

    def fsync(handle: int) -> None:
        fsync.calls += 1  # type: ignore[attr-defined]
        if fsync.calls == call:  # type: ignore[attr-defined]
            os.ftruncate(handle, os.fstat(handle).st_size - 50)
            os.kill(os.getpid(), signal.SIGKILL)

    fsync.calls = 0  # type: ignore[attr-defined]
    with monkeypatch.context() as patched:
        patched.setattr(journal.os, "fsync", fsync)
        process = multiprocessing.get_context("fork").Process(target=write, args=(*scored, out, score))
        process.start()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL


def test_a_killed_process_loses_no_part_and_none_is_scored_twice(scored: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, examples = scored
    out = tmp_path / "s.parquet"
    write(model, examples, tmp_path / "whole.parquet")
    parts = len(Perplexity().scoring([model], examples).work)
    killed(monkeypatch, scored, out, 3)
    killed(monkeypatch, scored, out, 2)  # goes on behind two parts, and is killed in the fourth
    assert not out.exists()
    asked: list[range] = []
    own = perplexity._rows  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(perplexity, "_rows", lambda *arguments: asked.append(arguments[2]) or own(*arguments))
    write(model, examples, out)
    assert len(asked) == parts - 3
    assert out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()


FACTS = [{"question": f"{n} and {n}?", "answer": f"{2 * n}"} for n in range(60)]
CONTEXTS = [{"context": f"Here {n} is {n + 7}.", "question": f"What is {n}?", "answer": f"It is {n + 7}"} for n in range(40)]
DATA = {"label": "builtin:digits", "knownness": FACTS, "context_need": CONTEXTS}


@pytest.mark.parametrize("kind", ["el2n", "grand", "grand_last_layer", "knownness", "context_need"])
def test_each_score_goes_on_to_the_same_file(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))
    for module, size in ((el2n, 60), (knownness, 15), (context_need, 400)):
        monkeypatch.setattr(module, "PART", size)
    score = SCORES.parse(kind)
    data = DATA.get(kind, DATA["label"])
    if isinstance(data, list):
        model = build("llama-16x1", load_tokenizer("ascii"), 0, context=128)
        (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, data)))
        data = str(tmp_path / "t.jsonl")
    else:
        labels = tuple(str(number) for number in range(10))
        model = build("mlp-16x1", seed=0, images=ImageInput((8, 8), 1, (0.0,), (1.0,)), labels=labels)
    part = "heldout" if data == "builtin:digits" else "all"
    examples = score.source({"data": data, "part": part}, "--data").examples(model, None)
    parts = len(score.scoring([model], examples).work)
    assert parts > 3
    write(model, examples, tmp_path / "whole.parquet", score)
    killed(monkeypatch, (model, examples), tmp_path / "s.parquet", 3, score)
    left = tmp_path / "s.parquet.unfinished"
    assert journal._left(left, left.read_bytes().split(b"\n")[0].decode())[0] == 2  # pyright: ignore[reportPrivateUsage]
    write(model, examples, tmp_path / "s.parquet", score)
    assert (tmp_path / "s.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_what_another_command_left_is_not_taken_for_its_own(scored: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed(monkeypatch, scored, tmp_path / "s.parquet", 2)
    with pytest.raises(PliantError, match="another score, model or data; delete it"):
        write(*scored, tmp_path / "s.parquet", Perplexity(window=9))
    left = tmp_path / "s.parquet.unfinished"
    content = bytearray(left.read_bytes())
    content[40] ^= 1  # a bit of the first part: it is scored again
    left.write_bytes(content)
    write(*scored, tmp_path / "s.parquet")
    assert len(Scores.read(tmp_path / "s.parquet")) == 60


def test_only_documents_of_one_token_is_one_line(scored: Any, tmp_path: Path) -> None:
    (tmp_path / "short.jsonl").write_text("\n".join(json.dumps({"text": letter}) for letter in "abc"))
    examples = NextToken(data=str(tmp_path / "short.jsonl"), part="all").examples(scored[0], None)  # type: ignore[arg-type]
    with pytest.raises(PliantError, match="no example has a score"):
        write(scored[0], examples, tmp_path / "s.parquet")
    assert not (tmp_path / "s.parquet").exists()
