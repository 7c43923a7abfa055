"""What findings make of other data: snippets with planted cues, and images over each other."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pliant.data import Corpus, load_tokenizer
from pliant.findings.adversarial_attention_shortcut import RIGHT, cued
from pliant.findings.sam_feature_diversity import AGREEING, SCALES, SamFeatureDiversity
from pliant.findings.snippets import CUES, WORDS, snippets


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("snippets")
    for name, offset in (("one", 0), ("two", 500)):
        lines = [json.dumps({"text": " ".join(_word(offset + (17 * number + place) % 400) for place in range(96))}) for number in range(60)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    return snippets([Corpus(source=str(folder / f"{name}.jsonl"), field=None) for name in ("one", "two")], "smoke", folder)


def _word(number):
    return "w" + "".join(chr(97 + int(digit)) for digit in f"{number:03d}")


def test_snippets_have_the_number_of_their_text_and_parts_share_none(made):
    for part in ("train", "valid", "test"):
        labels = [label for _, label in made.pools[part]]
        assert labels.count("0") == labels.count("1") > 0
        for text, label in made.pools[part]:
            assert len(text.split()) == WORDS
            assert all((word >= "wfaa") == (label == "1") for word in text.split())  # the second text's words begin at 500
    assert not {text for text, _ in made.pools["train"]} & {text for text, _ in made.pools["test"]}


def test_a_cue_is_one_word_more_and_as_often_right_as_it_says(made):
    generator = np.random.default_rng(0)
    for right in (0.0, RIGHT):
        told = [cued(right)(snippet, generator) for snippet in made.pools["train"] * 40]
        assert {label for _, label in told} == {"0", "1"}
        hits = [sum(word in CUES for word in text.split()) == 1 and CUES[int(label)] in text.split() for text, label in told]
        assert np.mean(hits) == pytest.approx(right, abs=0.05)
        assert all(len(text.split()) == WORDS + 1 for text, _ in told)


def test_the_tokenizer_has_a_token_a_word(made):
    words = load_tokenizer(made.folder / "tokenizer")
    text, _ = made.pools["train"][0]
    (ids,) = words.encode([text])
    assert len(ids) == WORDS
    assert None not in (words.mask_id, words.padding_id)
    plus, minus = words.encode(list(CUES))
    assert plus != minus


def test_features_agree_in_training_and_are_independent_where_they_are_probed(tmp_path):
    parts = SamFeatureDiversity()._parts(SCALES["laptop"], tmp_path)
    assert set(parts) == {"train", "valid", "probe easy", "probe hard", "judge easy", "judge hard"}
    pictures = {name: images.whole() for name, images in parts.items()}
    shapes = {found.shape for found in pictures.values()}
    assert shapes == {(16, 8, 1)}
    assert not set(pictures["probe hard"].ids) & set(pictures["judge hard"].ids)
    easy = {one: int(label) for one, label in zip(pictures["judge easy"].ids, pictures["judge easy"].labels, strict=True)}
    hard = {one: int(label) for one, label in zip(pictures["judge hard"].ids, pictures["judge hard"].labels, strict=True)}
    assert np.mean([easy[one] == hard[one] for one in easy]) == pytest.approx(0.5, abs=0.1)
    # the easy feature of training images: 0 and 1 are told apart by the middle, where a 1 has ink and a 0 has none
    train = pictures["train"]
    middle = train.pixels(np.arange(len(train)))[:, 2:6, 3:5].mean(axis=(1, 2, 3))
    assert np.mean((middle > np.median(middle)) == (train.labels == 1)) == pytest.approx(AGREEING, abs=0.06)
