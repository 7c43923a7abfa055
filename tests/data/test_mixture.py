"""Mixtures: shares as planned, changes at a token count, and nothing but a function of (seed, step)."""

import json
import pickle

import numpy as np
import pytest

from pliant.changes import Finetune
from pliant.data import Corpus, load_tokenizer, packed
from pliant.data.mixture import Mixture
from pliant.errors import PliantError
from pliant.objectives import NextToken
from pliant.study.ladders import parse_ladder
from pliant.train import TrainedLadder


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """Three languages of one letter each, and so told apart token by token."""
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))
    for letter in "abc":
        texts = [letter * (40 + number) for number in range(60)]
        (tmp_path / f"{letter}.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    return {letter: str(tmp_path / f"{letter}.jsonl") for letter in "abc"}


def drawn(mixture, steps, rows=8, length=16, seed=3):
    """The letter of every row."""
    text = mixture.packed(load_tokenizer("ascii"), "all")
    letters = load_tokenizer("ascii").encode(["abc"])[0]
    tokens = np.concatenate([text.at(text.positions(step, rows, length, seed)) for step in range(steps)])
    counts = np.stack([(tokens == letter).sum(axis=1) for letter in letters], axis=1)
    assert ((counts > 0).sum(axis=1) == 1).all(), "a row is of one source"
    return counts.argmax(axis=1)


def test_every_source_has_its_share_all_along(sources):
    weights = {"a": 7, "b": 2, "c": 1}
    found = drawn(Mixture(sources=sources, weights=weights), 250)
    for until in (50, 500, 2000):
        counts = np.bincount(found[:until], minlength=3)
        assert np.abs(counts - until * np.array([0.7, 0.2, 0.1])).max() < 4


def test_weights_change_at_their_token_count(sources):
    mixture = Mixture(sources=sources, weights={"a": 1}, then={"1.6k": {"b": 1}, "3200": {"a": 1, "c": 1}})
    found = drawn(mixture, 40)
    assert set(found[:100]) == {0}, "1,600 tokens are 100 rows of 16"
    assert set(found[100:200]) == {1}
    assert set(found[200:]) == {0, 2}
    assert list(mixture.then) == ["1600", "3200"]
    assert mixture.label() == "100% a, from 1600 tokens 100% b, from 3200 tokens 50% a + 50% c"


def test_an_unchanged_change_is_none_and_one_source_is_itself(sources):
    weights = {"a": 0.5, "b": 0.5}
    plain = Mixture(sources=sources, weights=weights).packed(load_tokenizer("ascii"), "all")
    same = Mixture(sources=sources, weights=weights, then={"800": weights}).packed(load_tokenizer("ascii"), "all")
    alone = Mixture(sources={"a": sources["a"]}, weights={"a": 3}).packed(load_tokenizer("ascii"), "all")
    text = packed(Corpus(source=sources["a"]), load_tokenizer("ascii"), "all")
    for step in (0, 3, 20):
        assert (plain.positions(step, 4, 16, 7) == same.positions(step, 4, 16, 7)).all()
        assert (alone.positions(step, 4, 16, 7) == text.positions(step, 4, 16, 7)).all()
        assert (plain.positions(step, 4, 16, 7) != plain.positions(step, 4, 16, 8)).any()
    assert len(plain) == len(text) + len(packed(Corpus(source=sources["b"]), load_tokenizer("ascii"), "all")), "c is never seen"
    again = pickle.loads(pickle.dumps(plain))
    assert (again.positions(5, 4, 16, 7) == plain.positions(5, 4, 16, 7)).all()


def test_its_fingerprint_is_of_content_and_weights(sources, tmp_path):
    base = Mixture(sources=sources, weights={"a": 1, "b": 3})
    (tmp_path / "copy.jsonl").write_bytes((tmp_path / "a.jsonl").read_bytes())
    renamed = {"x": str(tmp_path / "copy.jsonl"), "y": sources["b"], "z": sources["c"]}
    assert Mixture(sources=renamed, weights={"x": 0.25, "y": 0.75}).fingerprint() == base.fingerprint()
    others = [{"weights": {"a": 1, "b": 2}}, {"then": {"5": {"c": 1}}}, {"sources": sources | {"c": sources["a"]}}]
    assert len({base.fingerprint(), *(Mixture(**{**dict(base), **other}).fingerprint() for other in others)}) == 4


def test_it_is_a_training_source_like_any_other(sources):
    form = {"sources": sources, "weights": {"a": 1, "b": 1}}
    change = Finetune(data=form, lr=1e-3)
    assert isinstance(change.data, Mixture)
    assert change.learned == NextToken(data=form)
    assert change.title() == "Fine-tuning on 50% a + 50% b, 30 steps"
    assert Finetune.parse({name: value for name, value in change.canonical().items() if name != "kind"}) == change
    ladder = {"model": {"preset": "llama-16x1", "tokenizer": "ascii", "context": 16}, "tokens": "2k", "batch": 4, "lr": 1e-2}
    arms = parse_ladder({"ladder": ladder | {"corpus": [sources["a"], form, form | {"then": {"1k": {"c": 1}}}]}})
    names = [rung.checkpoint.name for rung in arms.rungs()]
    assert names == [f"llama-16x1, corpus {told}" for told in ("a.jsonl", "50% a + 50% b", "50% a + 50% b, from 1000 tokens 100% c")]
    assert parse_ladder(arms.form()) == arms


def test_a_plain_corpus_is_written_as_ever(sources):
    change = Finetune(data=sources["a"], lr=1e-3)
    assert change.canonical()["data"] == {"source": sources["a"], "field": None}
    ladder = TrainedLadder(model="llama-16x1", corpus=sources["a"], tokens="1M")
    assert ladder.form()["ladder"]["corpus"] == {"source": sources["a"], "field": None}
    assert not {"objective", "steps", "examples"} & set(ladder.canonical())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": {"d": 1}}, "no source is called 'd'"),
        ({"weights": {"a": 0}}, "at least one is above zero"),
        ({"weights": {"a": -1}}, "weights.a: a number of at least 0"),
        ({"weights": None}, "weights"),
        ({"sources": {}}, "sources"),
        ({"then": {"many": {"a": 1}}}, "many"),
        ({"then": {"0": {"a": 1}}}, "from 0 tokens on"),
        ({"then": {"5": {}}}, "at least one is above zero"),
        ({"wieghts": {}}, "did you mean 'weights'"),
        ({"sources": {"a": {"sorce": "x"}}, "weights": {"a": 1}}, "sorce"),
    ],
)
def test_wrong_fields_are_one_line(sources, changes, message):
    with pytest.raises(PliantError, match=message) as caught:
        Finetune(data={"sources": sources, "weights": {"a": 1}, **changes}, lr=1e-3)
    assert len(str(caught.value).splitlines()) == 1
