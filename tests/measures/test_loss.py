"""The loss of a corpus: each token once, the model's own numbers, comparable samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pliant.changes import Perturb, Quantize
from pliant.data import Corpus, load_tokenizer, packed
from pliant.errors import PliantError
from pliant.measures import MEASURES
from pliant.measures.loss import Loss
from pliant.models import Model

STORIES = [
    f"Once upon a time there were {number} little birds. " + "They sang “la la” all day. " * (number % 7) for number in range(2, 400)
]


@pytest.fixture
def text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "text"
    folder.mkdir()
    for number, story in enumerate(STORIES):
        (folder / f"{number:03d}.txt").write_text(story)
    return str(folder)


@pytest.fixture
def model() -> Model:
    from pliant.models.presets import build

    return build("llama-16x2", load_tokenizer("ascii"), seed=0)


def test_every_token_of_every_document_is_predicted_once(text: str, model: Model) -> None:
    reading = Loss(data=text, samples=None)(model)
    documents = {document.id: document.text for document in Corpus.parse(text).documents("heldout")}
    predicted = dict.fromkeys(documents, 0.0)
    for sample, weight in zip(reading.samples, reading.weights, strict=True):
        predicted[sample.split(":")[0]] += weight
    assert predicted == {name: len(model.tokenizer.encode([text])[0]) - 1 for name, text in documents.items()}
    assert (reading.metric, reading.unit) == ("loss", "nats/token")


def test_the_mean_is_what_transformers_gives_window_by_window(text: str, model: Model) -> None:
    reading = Loss(data=text, window=40)(model)
    windows = packed(Corpus.parse(text), model.tokenizer, "heldout").windows(40, 256)
    total = 0.0
    for window in windows:
        ids = torch.from_numpy(window.tokens)[None]
        with torch.no_grad():
            total += model.network(input_ids=ids, labels=ids).loss.item() * (len(window.tokens) - 1)
    assert reading.estimate().value == pytest.approx(total / sum(len(window.tokens) - 1 for window in windows), rel=1e-6)


def test_real_weights_on_stories(text: str, shared_data: Path) -> None:
    from pliant import models

    model = models.load(str(shared_data / "models" / "stories260K-hf"))
    reading = Loss(data=text, part="all", samples=50)(model)
    network: Any = model.network
    values = dict(zip(reading.samples, reading.values, strict=True))
    for window in packed(Corpus.parse(text), model.tokenizer, "all").windows(512, 50):
        ids = torch.from_numpy(window.tokens)[None]
        with torch.no_grad():
            assert values[window.id] == pytest.approx(network(input_ids=ids, labels=ids).loss.item(), rel=1e-6)
    assert reading.estimate().value < 5  # ln 512 is 6.2


def test_a_sample_of_the_windows(text: str, model: Model) -> None:
    all_of_them, some = Loss(data=text, samples=None, part="all")(model), Loss(data=text, samples=30, part="all")(model)
    values = dict(zip(all_of_them.samples, all_of_them.values, strict=True))
    assert len(set(some.samples)) == 30
    for sample, value in zip(some.samples, some.values, strict=True):
        assert value == pytest.approx(values[sample], rel=1e-5)
    assert len(Loss(data=text, samples=10**6)(model).samples) == len(Loss(data=text, samples=None)(model).samples)


def test_changes_are_read_off_the_same_samples(text: str, model: Model) -> None:
    loss = Loss(data=text)
    before = loss(model)
    with Perturb(scale=2.0).applied(model):
        noisy = loss(model)
    with Quantize(bits=8).applied(model):
        rounded = loss(model)
    assert (noisy - before).estimate().low > 0
    assert abs((rounded - before).estimate().value) < 0.01
    assert np.array_equal(loss(model).values, before.values)


def test_memory_settings_are_no_part_of_the_description(text: str, model: Model) -> None:
    plain, small = Loss(data=text), Loss(data=text, batch_tokens=100)
    assert plain.hash() == small.hash()
    np.testing.assert_allclose(plain(model).values, small(model).values, rtol=1e-6)
    assert MEASURES.parse(plain.canonical()).hash() == plain.hash()


def test_long_contexts_are_read_in_windows_of_2048() -> None:
    from pliant.measures.windows import LONGEST_WINDOW
    from pliant.models.presets import build

    assert Loss(data="x").length(build("llama-16x2", load_tokenizer("ascii"), context=8192)) == LONGEST_WINDOW
    assert Loss(data="x").length(build("llama-16x2", load_tokenizer("ascii"), context=128)) == 128
    assert Loss(data="x", window=3).length(build("llama-16x2", load_tokenizer("ascii"), context=128)) == 3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"window": 65}, "window 65 is longer than the model's context of 64"),
        ({"window": 0}, "window"),
        ({"samples": 0}, "samples"),
        ({"part": "test"}, "part"),
        ({"sample": 5}, "did you mean 'samples'"),
    ],
)
def test_wrong_fields_are_said(text: str, model: Model, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(PliantError, match=message):
        MEASURES.parse({"loss": {"data": text, **fields}})(model)


def test_a_broken_model_and_a_foreign_tokenizer_are_said(text: str, model: Model) -> None:
    foreign = Model(model.network, load_tokenizer("bytes"), model.checkpoint)  # 256 ids, of which the text needs more than 128
    with pytest.raises(PliantError, match="outside the model's vocabulary of 128"):
        Loss(data=text)(foreign)
    with torch.no_grad():
        model.network.get_input_embeddings().weight.fill_(torch.nan)
    with pytest.raises(PliantError, match=f"^{model.checkpoint.address} on .*text: the model's loss is not a finite number"):
        Loss(data=text)(model)


def test_what_is_no_loaded_model_is_said(text: str, model: Model) -> None:
    loss: Any = Loss(data=text)
    with pytest.raises(PliantError, match=r"'some/path' is an address, not a model: load it first, with pl\.load\('some/path'\)"):
        loss("some/path")
    with pytest.raises(PliantError, match=rf"what pl\.load\(ADDRESS\) returns, not {type(model.network).__name__}"):
        loss(model.network)


def test_missing_text_is_said(tmp_path: Path, model: Model) -> None:
    with pytest.raises(PliantError, match="nowhere"):
        Loss(data=str(tmp_path / "nowhere.txt"))(model)
