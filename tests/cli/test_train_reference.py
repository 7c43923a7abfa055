"""`pliant score perplexity --train-reference`: every document is scored, or was trained on, once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pliant.data import Corpus
from pliant.models import load
from pliant.scores import Scores


def test_scored_and_set_aside_are_all_documents_once(pliant: Any, tmp_path: Path) -> None:
    told = [f"Story {number}: once there were {number * 7} birds, and {number * 3} of them sang. " * 2 for number in range(200)]
    (tmp_path / "text.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in told))
    out = tmp_path / "s.parquet"
    options = ["--train-reference", "9k", "--tokens", "30k", "--tokenizer", "ascii", "--context", 32, "--part", "all", "--json"]
    code, said, err = pliant("score", "perplexity", *options, "--data", tmp_path / "text.jsonl", "-o", out)
    assert code == 0, err
    assert "are the reference's training split, and have no score" in err
    scores = Scores.read(out)
    assert json.loads(said)["examples"] == len(scores)
    whole = {document.id for document in Corpus(source=str(tmp_path / "text.jsonl"), field=None).documents("all")}
    aside = {document.id for document in Corpus(source=str(tmp_path / "s.parquet.reference" / "data"), field=None).documents("all")}
    assert aside
    assert aside | set(scores.ids) == whole
    assert not aside & set(scores.ids)
    model = load(tmp_path / "s.parquet.reference" / "model")
    assert scores.models == (model.weights(),)
    assert model.checkpoint.tokens == pytest.approx(30_000, rel=0.1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "name one, or several; or --train-reference"),
        (["--train-reference", "9k"], "say with --tokens"),
        (["--train-reference", "9k", "--tokens", "1k", "--model", "x"], "takes the place of --model"),
        (["--train-reference", "many", "--tokens", "1k"], "many"),
    ],
)
def test_what_cannot_be_trained_is_one_line(pliant: Any, options: list[Any], said: str, tmp_path: Path) -> None:
    code, _, err = pliant("score", "perplexity", *options, "--data", tmp_path / "text.jsonl", "-o", tmp_path / "s.parquet")
    assert code == 2
    assert said in err
