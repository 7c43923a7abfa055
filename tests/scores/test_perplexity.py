"""Scores of documents: transformers' own numbers, and a file that says what it holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pliant.data import Corpus, load_tokenizer
from pliant.errors import PliantError
from pliant.models import Model, build
from pliant.objectives import NextToken
from pliant.scores import SCORES, Perplexity, Scores, perplexity

TEXTS = [f"Number {number} is told. " * (1 + number % 6) for number in range(40)]


@pytest.fixture
def text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "text.jsonl"
    path.write_text("\n".join(json.dumps({"text": text}) for text in [*TEXTS, "x"]))
    return str(path)


def model(seed: int = 0) -> Model:
    return build("llama-16x2", load_tokenizer("ascii"), seed, context=64)


def own(network: Any, tokens: np.ndarray, window: int) -> float:
    """Of one document, with transformers' own loss, window by window."""
    total = 0.0
    for start in range(0, len(tokens) - 1, window):
        ids = torch.from_numpy(tokens[start : start + window + 1].astype(np.int64))[None]
        with torch.no_grad():
            total += network(input_ids=ids, labels=ids).loss.item() * (ids.shape[1] - 1)
    return total / (len(tokens) - 1)


@pytest.mark.parametrize("window", [None, 20])
def test_every_document_has_the_loss_that_transformers_gives_it(text: str, window: int | None) -> None:
    reader = model()
    scores = SCORES.parse({"perplexity": {"window": window}})([reader], NextToken(data=text, part="all").examples(reader, None))
    documents = {document.id: document.text for document in Corpus.parse(text).documents("all")}
    one = next(name for name, text in documents.items() if text == "x")
    assert set(scores.ids) == set(documents) - {one}  # a single token has nothing to be predicted from
    assert (scores.unit, scores.better, scores.models) == ("nats/token", "lower", (reader.weights(),))
    for name, value, count in zip(scores.ids, scores.values, scores.tokens, strict=True):
        tokens = reader.tokenizer.encode([documents[name]])[0]
        assert count == len(tokens) - 1
        assert value == pytest.approx(own(reader.network, tokens, window or 64), rel=1e-6)


def test_windows_are_as_long_as_the_context_up_to_a_stated_maximum(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = model()
    examples = NextToken(data=text, part="all").examples(reader, None)
    assert f"at most {perplexity.LONGEST_WINDOW}" in str(Perplexity.model_fields["window"].description)
    context, asked = Perplexity()([reader], examples), Perplexity(window=20)([reader], examples)
    assert context.values == pytest.approx(Perplexity(window=64)([reader], examples).values, rel=1e-6)
    monkeypatch.setattr(perplexity, "LONGEST_WINDOW", 20)
    assert (Perplexity()([reader], examples).values == asked.values).all()
    assert abs(context.values - asked.values).max() > 1e-3


def test_several_models_are_averaged(text: str) -> None:
    readers = [model(0), model(1)]
    examples = NextToken(data=text, part="all").examples(readers[0], None)
    both = Perplexity()(readers, examples)
    each = [Perplexity()([reader], examples).by_id() for reader in readers]
    assert both.by_id() == pytest.approx({name: (each[0][name] + each[1][name]) / 2 for name in each[0]})
    assert both.models == tuple(reader.weights() for reader in readers)


def test_a_saved_table_is_the_table_that_is_read(text: str, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    reader = model()
    examples = NextToken(data=text, part="all").examples(reader, None)
    scores = Perplexity(window=20)([reader], examples)
    scores.save(tmp_path / "scores.parquet")
    table = pq.read_table(tmp_path / "scores.parquet")
    assert table.column_names == ["id", "score", "tokens", "source"]
    assert set(table["source"].to_pylist()) == {f"{text} (all part)"}
    read = Scores.read(tmp_path / "scores.parquet")
    assert read.by_id() == scores.by_id()
    assert (read.score, read.models, read.data) == ({"kind": "perplexity", "window": 20}, (reader.weights(),), examples.fingerprint)
    assert (read.tokens == scores.tokens).all()
    assert read.values.dtype == np.float64


def test_what_cannot_be_scored_is_said(text: str) -> None:
    reader: Any = model()
    examples: Any = NextToken(data=text, part="all").examples(reader, None)
    with pytest.raises(PliantError, match="needs a model"):
        Perplexity()([], examples)
    with pytest.raises(PliantError, match="'some/path' is an address"):
        Perplexity()(["some/path"], examples)  # type: ignore[list-item]
    with pytest.raises(PliantError, match="window 65 is longer than the model's context of 64"):
        Perplexity(window=65)([reader], examples)
    with pytest.raises(PliantError, match="has another tokenizer than"):
        Perplexity()([reader, build("llama-16x2", load_tokenizer("bytes"), 0, context=64)], examples)
    with pytest.raises(PliantError, match="not str"):
        Perplexity()([reader], "text")  # type: ignore[arg-type]
    with torch.no_grad():
        reader.network.get_input_embeddings().weight.fill_(torch.nan)
    with pytest.raises(PliantError, match=f"^{reader.checkpoint.address} on .* not a finite number"):
        Perplexity()([reader], examples)


def table(**fields: Any) -> Scores:
    made: dict[str, Any] = {"ids": ["a", "b"], "values": np.ones(2), "tokens": np.ones(2, int), "sources": ["s", "s"], "score": {}}
    return Scores(**made | {"models": ("m",), "data": "d", "unit": "1", "better": "lower"} | fields)


def test_values_that_are_no_numbers_and_ids_that_are_there_twice_are_refused() -> None:
    with pytest.raises(PliantError, match="score of b is nan"):
        table(values=np.array([1.0, np.nan]))
    with pytest.raises(PliantError, match="scored twice"):
        table(ids=["a", "a"])


def test_files_that_are_none_of_ours_are_one_line(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table().save(tmp_path / "good.parquet")
    whole, path = (tmp_path / "good.parquet").read_bytes(), tmp_path / "bad.parquet"
    for content in (b"", b"text", whole[:100], whole[:-20]):
        path.write_bytes(content)
        with pytest.raises(PliantError, match=r"bad\.parquet: is no file of scores"):
            Scores.read(path)
    good = pq.read_table(tmp_path / "good.parquet")
    for other in (
        good.replace_schema_metadata(None),
        good.replace_schema_metadata({b"pliant.scores": b"{"}),
        good.drop_columns(["tokens"]),
        good.set_column(1, "score", pa.array([1.0, None])),
        good.set_column(1, "score", pa.array([1.0, float("inf")])),
        good.set_column(0, "id", pa.array(["a", "a"])),
    ):
        pq.write_table(other, path)
        with pytest.raises(PliantError, match=r"^\S*bad\.parquet: ") as caught:
            Scores.read(path)
        assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(PliantError, match=r"missing\.parquet"):
        Scores.read(tmp_path / "missing.parquet")
