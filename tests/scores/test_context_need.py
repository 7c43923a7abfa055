"""Context need: transformers' own losses with and without the context, under the ids of the dialogues."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pliant.data import load_tokenizer
from pliant.data.table import Table
from pliant.errors import PliantError
from pliant.models import Model, build
from pliant.objectives import Answers
from pliant.scores import SCORES, ContextNeed, Scores
from pliant.scores.context_need import WithContext

ALPACA = [
    {"instruction": f"Say it {n}.", "input": "" if n % 3 == 0 else f"it is {n * n}", "output": f"{n * n}, as told."} for n in range(12)
]
FACTS = [{"context": f"Here {n} is {n + 7}.", "question": f"What is {n}?", "answer": f"It is {n + 7}"} for n in range(9)]


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))
    return build("llama-16x2", load_tokenizer("ascii"), 0, context=64)


def own(model: Model, asked: str, answer: str) -> float:
    """The mean loss of an answer behind a question, with transformers' own loss; no end token in this alphabet."""
    before, after = model.tokenizer.encode([f"{asked}\n", answer])
    after = [*after, *([] if model.tokenizer.end_id is None else [model.tokenizer.end_id])]
    ids = torch.tensor([[int(token) for token in (*before, *after)]])
    labels = ids.clone()
    labels[:, : len(before)] = -100
    with torch.no_grad():
        return model.network(input_ids=ids, labels=labels).loss.item()


def table(tmp_path: Path, rows: list[dict[str, Any]]) -> str:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return str(path)


@pytest.mark.parametrize("value", ["difference", "without"])
def test_alpaca_with_and_without_its_input(model: Model, tmp_path: Path, value: Any) -> None:
    source = table(tmp_path, ALPACA)
    scores = ContextNeed(value=value)([model], WithContext.parse({"data": source, "part": "all"}).examples(model, None))
    rows = [row for row in ALPACA if row["input"]]
    assert len(scores) == len(rows) == 8
    for found, tokens, row in zip(scores.values, scores.tokens, rows, strict=True):
        without = own(model, row["instruction"], row["output"])
        given = own(model, f"{row['instruction']}\n\n{row['input']}", row["output"])
        assert found == pytest.approx(without - given if value == "difference" else without, abs=2e-6)
        assert tokens == len(model.tokenizer.encode([row["output"]])[0]) + (model.tokenizer.end_id is not None)
    ids = [f"{number:016x}" for number, _ in Table(source=source).dialogues("all")]
    assert list(scores.ids) == [name for name, row in zip(ids, ALPACA, strict=True) if row["input"]]


def test_a_question_is_asked_behind_its_context(model: Model, tmp_path: Path) -> None:
    source = table(tmp_path, FACTS)
    scores = ContextNeed()([model], WithContext.parse({"data": source, "part": "all"}).examples(model, None))
    for found, row in zip(scores.values, FACTS, strict=True):
        given = own(model, f"{row['context']}\n\n{row['question']}", row["answer"])
        assert found == pytest.approx(own(model, row["question"], row["answer"]) - given, abs=2e-6)
    assert list(scores.ids) == [f"{number:016x}" for number, _ in Table(source=source).dialogues("all")]


def test_a_context_that_says_nothing_to_the_model_is_not_needed(model: Model, tmp_path: Path) -> None:
    """Where positions and attention do nothing, only the last token counts, which is the same in both."""
    with torch.no_grad():
        for name, weight in model.network.named_parameters():
            if "o_proj" in name:
                weight.zero_()
    scores = ContextNeed()([model], WithContext.parse({"data": table(tmp_path, FACTS), "part": "all"}).examples(model, None))
    assert np.abs(scores.values).max() < 1e-5


def test_in_parts_and_what_it_refuses(model: Model, tmp_path: Path) -> None:
    from pliant.scores.journal import score_to_file

    source = WithContext.parse({"data": table(tmp_path, ALPACA), "part": "all"})
    examples = source.examples(model, None)
    assert examples.fingerprint != Answers(data=source.data.source, part="all").examples(model, None).fingerprint  # type: ignore[arg-type]
    score_to_file(SCORES.parse("context_need"), [model], examples, tmp_path / "s.parquet", {})
    assert len(Scores.read(tmp_path / "s.parquet")) == 8
    with pytest.raises(PliantError, match="which columns hold questions with a context"):
        WithContext.parse({"data": table(tmp_path, [{"question": "a", "answer": "b"}]), "part": "all"}).examples(model, None)
    with pytest.raises(PliantError, match="no example is left"):
        WithContext.parse({"data": table(tmp_path, ALPACA[:1]), "part": "all"}).examples(model, None)
    with pytest.raises(PliantError, match="needs a model"):
        ContextNeed()([], examples)
    answers: Any = "text"
    with pytest.raises(PliantError, match="not str"):
        ContextNeed()([model], answers)
